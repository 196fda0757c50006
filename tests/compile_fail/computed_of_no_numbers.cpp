// SPDX-License-Identifier: Apache-2.0
// expect: computed_numbers takes a function of \(index_t row, index_t column\) that gives a number
// A table whose function gives no numbers.
#include <espalier/data/computed_numbers.hpp>
using namespace espalier;
struct words {
#ifdef ESPALIER_POSITIVE_TWIN
    double operator()(index_t r, index_t c) const {
        return static_cast<double>(r + c);
    }
#else
    char const* operator()(index_t, index_t) const {
        return "a";
    }
#endif
};
index_t rows_of() {
    computed_numbers<words> const table(2, 2, words{});
    return number_view(table).rows;
}
