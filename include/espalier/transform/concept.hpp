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
//         static constexpr bool draws = false;             // true: `about.bits` is a 16-bit draw of this element, its
//         own static constexpr bool needs_reference = false;   // true: `about.reference` is the second stream's
//         gradient static constexpr bool needs_global_norm = false; // true: `about.global_norm` is the norm of all
//         gradients,
//                                                          // which costs one more pass over them
//         template <class T, class Bits> ESPALIER_FN T apply(T g, transform_element<T, Bits> const& about) const;
//     };
//
// The flags are false when not declared. T is float, double or a pack of them, Bits an unsigned integer or a pack of
// them with as many lanes.
#pragma once

#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/transform/axis.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace espalier::transform {

template <class P>
concept has_stage = requires {
    { P::stage } -> std::convertible_to<int>;
};

template <class Op, class T>
concept has_apply = requires(Op const& op, T g, transform_element<T, drawn_bits<T>> const& about) {
    { op.apply(g, about) } -> gives<T>;
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
                        "a gradient transform needs `template <class T, class Bits> ESPALIER_FN T apply(T g, "
                        "transform_element<T, Bits> const& about) const` in its op");
    return apply;
}

} // namespace espalier
