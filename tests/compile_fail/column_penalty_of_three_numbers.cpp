// SPDX-License-Identifier: Apache-2.0
// expect: an activation penalty needs .*gradient\(T y, epilogue_about<T, Bits> const& about\)
// expect: at_layer<1>
// expect: about.column_sum
// expect c++: from_policy<.*my_penalty>
// expect nvcc: P=my_penalty
// A gradient that takes the sum of its column as a number: it stands in `about`.
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct my_penalty {
    using axis = espalier::axis::activation_penalty;
    static constexpr penalty_scope scope = penalty_scope::column;
    template <class T> ESPALIER_FN T contribution(T y) const { return y; }
    ESPALIER_FN double finish(double sum, double) const { return sum * sum; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T, class Bits> ESPALIER_FN T gradient(T, epilogue_about<T, Bits> const& about) const {
        return about.column_sum + about.column_sum;
    }
#else
    template <class T> ESPALIER_FN T gradient(T, T column_sum, T) const {
        return column_sum + column_sum;
    }
#endif
};
using stack = sequence<input<16>, dense<8, my_penalty>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
