// SPDX-License-Identifier: Apache-2.0
// Words of the compiler's error messages. A check reads
//     static_assert(holds<condition, at_layer<2>, given_width<64>, needed_width<128>>, "espalier: ...");
// so that the first line is the sentence and the line after it spells the facts.
#pragma once

#include <espalier/core/axis.hpp>

#include <type_traits>

namespace espalier::diagnostic {

template <int Index> struct at_layer; // position in the sequence, counted from 0
struct alone;                         // a layer used outside a sequence
struct nowhere;                       // asks whether a check holds: one that fails says nothing
template <class Axis> struct on_axis;
template <class... Policies> struct given_policies;
template <auto Value> struct given;
template <auto Value> struct needed;
template <auto Width> struct given_width;
template <auto Width> struct needed_width;
template <class Layer> struct in_layer;
template <class Policy> struct from_policy;
template <class Type> struct given_type;
template <char... Characters> struct group_named; // a parameter group

// A named atom: g++ spells the arguments of the expression that failed, and with them the facts.
template <bool Condition, class... Facts> inline constexpr bool is_so = Condition;
template <bool Condition, class... Facts> inline constexpr bool is_so<Condition, nowhere, Facts...> = true;

/// `Condition`, with the facts that make a failure readable.
template <bool Condition, class... Facts>
concept holds = is_so<Condition, Facts...>;

/// The layer whose checks are made, for their messages. Without a place there are none: then all layers with the same
/// list of policies share one check.
template <class Where, class Layer>
using layer_of_message = std::conditional_t<std::is_same_v<Where, nowhere>, nowhere, Layer>;

} // namespace espalier::diagnostic
