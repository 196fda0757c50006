// SPDX-License-Identifier: Apache-2.0
// What the gain of a low-rank adapter is: a factor of the gradients of an output's part of the factors.
//
// Archetype:
//
//     struct my_gain {
//         static constexpr std::string_view name = "mine";
//         // from the 2-norm of a column of A B, which is constant for differentiation
//         template <class T> ESPALIER_FN T gain(T norm) const;
//         struct op; static op at(clock const&); // optional: numbers of this step; `gain` is the op's then
//     };
//
// T is float, double or a pack of them.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>

#include <concepts>

namespace espalier::weight {

/// The gain of plain adapters: there is none, and nothing is computed for it.
struct no_gain {
    static constexpr std::string_view name = "no_gain";
};

template <class Op, class T>
concept gives_gain = requires(Op const& op, T norm) {
    { op.gain(norm) } -> std::convertible_to<T>;
};

/// A policy whose op gives gains.
template <class P>
concept adapter_gain = gives_gain < typename espalier::detail::op_type<P>::type,
float > &&gives_gain<typename espalier::detail::op_type<P>::type, double>&&
            gives_gain<typename espalier::detail::op_type<P>::type, native_pack<float>>;

} // namespace espalier::weight
