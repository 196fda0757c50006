// SPDX-License-Identifier: Apache-2.0
// What a dropout is: a random factor of every output of a layer, drawn again in backward and never stored.
//
// Archetype of its op:
//
//     struct my_op {
//         static constexpr random_scope scope = random_scope::element; // or row, or none
//         template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const; // not for random_scope::none
//     };
//
// `bits` is a uniform 16-bit draw, widened to an unsigned integer or a pack of them with the lanes of T. The policy has
// `axis`, `name`, `op`, `at(clock)` as in core/policy.hpp. At inference the factor is 1: E[factor] = 1 is the policy's
// to keep.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/dropout/axis.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace espalier::dropout {

template <class Op>
concept has_scope = std::same_as<std::remove_cvref_t<decltype(Op::scope)>, random_scope>;

template <class Op, class T>
concept has_factor = requires(Op const& op, drawn_bits<T> bits) {
    { op.template factor<T>(bits) } -> gives<T>;
};

namespace detail {

template <class Op> consteval bool draws_nothing() {
    if constexpr (has_scope<Op>)
        return Op::scope == random_scope::none;
    else
        return false;
}

} // namespace detail

template <class P>
concept random_field = policy_on<P, axis::dropout> && std::is_trivially_copyable_v<op_of<P>> && has_scope<op_of<P>> &&
    (detail::draws_nothing<op_of<P>>() ||
     (has_factor<op_of<P>, float> && has_factor<op_of<P>, double> && has_factor<op_of<P>, native_pack<float>>));

} // namespace espalier::dropout

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::dropout::members() {
    using op = typename Asked::op;
    constexpr bool scope = espalier::dropout::has_scope<op>;
    ESPALIER_NEEDS(scope, "a dropout needs `static constexpr random_scope scope` in its op: element, row or none");
    if constexpr (!scope || espalier::dropout::detail::draws_nothing<op>()) {
        return scope;
    } else {
        ESPALIER_NEEDS_OF_T(factor, espalier::dropout::has_factor,
                            "a dropout needs `template <class T, class Bits> ESPALIER_FN T factor(Bits bits) "
                            "const` in its op; bits is a uniform 16-bit draw");
        return factor;
    }
}

} // namespace espalier
