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
// `bits` is a uniform 16-bit draw, widened to an unsigned integer or a pack of them with the lanes of T. A factor that
// depends on more than its draw takes `about` (core/epilogue.hpp) in its place:
//
//         template <class T, class Bits> ESPALIER_FN T factor(epilogue_element<T, Bits> const& about) const;
//
// The policy has `axis`, `name`, `op`, `at(clock)` as in core/policy.hpp. At inference the factor is 1: E[factor] = 1
// is the policy's to keep.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace espalier::dropout {

template <class Op>
concept has_scope = std::same_as<std::remove_cvref_t<decltype(Op::scope)>, random_scope>;

template <class Op, class T>
concept has_factor = requires(Op const& op, drawn_bits<T> bits) {
    { op.template factor<T>(bits) } -> gives<T>;
}
|| requires(Op const& op, epilogue_element<T, drawn_bits<T>> const& about) {
    { op.factor(about) } -> gives<T>;
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
