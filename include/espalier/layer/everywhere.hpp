// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>

#include <string_view>
#include <type_traits>

namespace espalier {

template <class Inner, class... Ps> struct everywhere;

namespace detail {
template <class Inner, shape In, class Inherited, class... Ps> struct bind_everywhere;
template <class Inner, shape In, class... Inherited, class... Ps>
struct bind_everywhere<Inner, In, type_list<Inherited...>, Ps...> {
    // As a whole stack it has no place in a sequence that would have checked it.
    static constexpr bool valid = check_inherited<diagnostic::alone, everywhere<Inner, Ps...>, Ps...>();
    template <bool Valid> static auto choose() {
        if constexpr (Valid)
            return std::type_identity<typename Inner::template bind<In, type_list<Ps..., Inherited...>>>{};
        else
            return std::type_identity<invalid_layer<In, Inner::output(In)>>{};
    }
    using type = typename decltype(choose<valid>())::type;
};
} // namespace detail

/// `Inner` with policies added to every layer inside it: `everywhere<stack, penalty::l2<1e-4>, activation::relu>`.
/// On an axis with room for one policy a layer's own policy wins, then the innermost `everywhere`; on stacking axes all
/// of them act. Layers that have no such axis ignore the policy.
template <class Inner, class... Ps> struct everywhere {
    static constexpr std::string_view name = "everywhere";
    static constexpr shape output(shape in) { return Inner::output(in); }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        return Inner::template check<Where, In, Inherited>();
    }
    template <shape In, class Inherited>
    using bind = typename detail::bind_everywhere<Inner, In, Inherited, Ps...>::type;
};

} // namespace espalier
