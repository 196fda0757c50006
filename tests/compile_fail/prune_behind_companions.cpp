// SPDX-License-Identifier: Apache-2.0
// expect: a tensor whose weight map reads companions cannot be pruned
// expect: beside
// A pruned kernel whose map adds what stays as it was set: its masks are selected by the trained part alone.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/magnitude.hpp>

#include <string_view>
using namespace espalier;
struct beside {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
#ifndef ESPALIER_POSITIVE_TWIN
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[companions] = {"base"};
#endif
    template <class T> ESPALIER_FN T effective(T raw, element_about<T> const& about) const {
        return raw + about.companion[0];
    }
    template <class T> ESPALIER_FN T pull(T g) const {
        return g;
    }
    template <class T> ESPALIER_FN T store(T next) const {
        return next;
    }
};
using stack = sequence<input<16>, dense<8, beside, prune::magnitude<0.5>>>;
inline constexpr index_t size = stack::bind<shape{}, type_list<>>::size<float>().parameters;
