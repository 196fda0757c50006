// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>

#include <string_view>
#include <type_traits>

namespace espalier {

namespace detail {
/// What the layers inside an `everywhere` inherit: its policies, then those of what is around it.
template <class Inherited, class... Ps> struct handed_on;
template <class... Inherited, class... Ps> struct handed_on<type_list<Inherited...>, Ps...> {
    using type = type_list<Ps..., Inherited...>;
};
} // namespace detail

/// `Inner` with policies added to every layer inside it: `everywhere<stack, penalty::l2<1e-4>, activation::relu>`.
/// On an axis with room for one policy a layer's own policy wins, then the innermost `everywhere`; on stacking axes all
/// of them act. Layers that have no such axis, or no tensor of the role that an `on` names, ignore the policy.
template <class Inner, class... Ps> struct everywhere {
    static constexpr std::string_view name = "everywhere";
    static constexpr shape output(shape in) { return detail::output_of<Inner>(in); }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        using named = diagnostic::layer_of_message<Where, everywhere>;
        if constexpr (!detail::check_is_layer<Inner, Where, diagnostic::in_layer<named>>())
            return false;
        else if constexpr (!detail::check_inherited<Where, named, Ps...>())
            return false;
        else
            return Inner::template check<Where, In, typename detail::handed_on<Inherited, Ps...>::type>();
    }
    template <shape In, class Inherited>
    using bind = typename detail::bound_by<Inner, In, typename detail::handed_on<Inherited, Ps...>::type>::type;
};

} // namespace espalier
