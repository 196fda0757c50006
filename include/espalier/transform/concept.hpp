// SPDX-License-Identifier: Apache-2.0
// What a gradient transform is: a function of one gradient, between the penalties and the optimizer.
//
// Archetype:
//
//     struct my_transform {
//         using axis = espalier::axis::transform;
//         static constexpr std::string_view name = "mine";
//         static constexpr int stage = int(transform_stage::scale); // add, gate, scale, clip: the order of several
//         using op = my_op;
//         static op at(clock const&);
//     };
//     struct my_op {
//         template <class T> ESPALIER_FN T apply(T g) const; // or, to read more than the gradient:
//         template <class T> ESPALIER_FN T apply(T g, element_about<T> const& about) const;
//         static constexpr bool draws = false;             // true: `about.bits` is a draw of this element, its own
//         static constexpr bool needs_reference = false;   // true: `about.reference` is the second stream's gradient
//         static constexpr bool needs_global_norm = false; // true: `about.global_norm` is the norm of all gradients,
//                                                          // which costs one more pass over them
//     };
//
// The flags are false when not declared; what else is in `about` stands in core/element_about.hpp. T is float, double
// or a pack of them.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/transform/axis.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::transform {

template <class P>
concept has_stage = requires {
    { P::stage } -> std::convertible_to<int>;
};

namespace detail {
ESPALIER_ABOUT_FORMS(apply)
} // namespace detail

template <class Op, class T>
concept has_apply = requires(Op const& op, element_about<T> const& about, T g) {
    { detail::apply(op, about, g) } -> gives<T>;
};

template <class P>
concept gradient_transform =
    policy_on<P, axis::transform> && has_stage<P> && std::is_trivially_copyable_v<op_of<P>> && has_apply < op_of<P>,
float > &&has_apply<op_of<P>, double>&& has_apply<op_of<P>, native_pack<float>>;

} // namespace espalier::transform

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::transform::members() {

    ESPALIER_NEEDS_OF_T(apply, espalier::transform::has_apply,
                        "a gradient transform needs `template <class T> ESPALIER_FN T apply(T g) const` or "
                        "`apply(T g, element_about<T> const& about) const` in its op");
    return apply;
}

} // namespace espalier
