// SPDX-License-Identifier: Apache-2.0
// expect: the second argument of weight::low_rank_adapter is a gain
// expect: twice
// A gain that lacks its function.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
struct twice {
    static constexpr std::string_view name = "twice";
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T gain(T) const {
        return T(2);
    }
#else
    template <class T> ESPALIER_FN T factor(T) const {
        return T(2);
    }
#endif
};
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<4, twice>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
