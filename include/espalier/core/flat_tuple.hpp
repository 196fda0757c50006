// SPDX-License-Identifier: Apache-2.0
// Types and values by index without recursion: a pack of any length costs one instantiation, not one per element.
#pragma once

#include <espalier/core/macros.hpp>

#include <cstddef>
#include <utility>

namespace espalier {

/// A list of types. Empty: it is passed by value to carry a pack into a function.
template <class... Ts> struct type_list { static constexpr std::size_t size = sizeof...(Ts); };

namespace detail {

template <std::size_t At, class T> struct indexed_type { using type = T; };

template <class Indices, class... Ts> struct indexed_types;
template <std::size_t... At, class... Ts>
struct indexed_types<std::index_sequence<At...>, Ts...> : indexed_type<At, Ts>... {};

// Overload resolution finds the one base with index At: constant depth for any length.
template <std::size_t At, class T> indexed_type<At, T> find_indexed(indexed_type<At, T> const*);

template <std::size_t At, class T> struct tuple_leaf { [[no_unique_address]] T value; };

template <class Indices, class... Ts> struct flat_tuple_base;
template <std::size_t... At, class... Ts>
struct flat_tuple_base<std::index_sequence<At...>, Ts...> : tuple_leaf<At, Ts>... {};

} // namespace detail

/// The At-th type of a pack.
template <std::size_t At, class... Ts>
using type_at = typename decltype(detail::find_indexed<At>(
    static_cast<detail::indexed_types<std::index_sequence_for<Ts...>, Ts...> const*>(nullptr)))::type;

/// Values of any types, stored flat; trivially copyable when all of them are, an aggregate of its elements.
template <class... Ts> struct flat_tuple : detail::flat_tuple_base<std::index_sequence_for<Ts...>, Ts...> {
    static constexpr std::size_t size = sizeof...(Ts);
};

/// The element at a place.
template <std::size_t At, class T> ESPALIER_FN constexpr T& get(detail::tuple_leaf<At, T>& leaf) {
    return leaf.value;
}
/// The element at a place.
template <std::size_t At, class T> ESPALIER_FN constexpr T const& get(detail::tuple_leaf<At, T> const& leaf) {
    return leaf.value;
}

/// Calls `f(element)` for every element in order.
template <class F, class... Ts> ESPALIER_FN constexpr void for_each(flat_tuple<Ts...> const& tuple, F&& f) {
    // Clang otherwise leaves a call of the lambda in the loop over packs, with its numbers passed through memory.
    [&]<std::size_t... At>(std::index_sequence<At...>) __attribute__((always_inline)) {
        (f(get<At>(tuple)), ...);
    }
    (std::index_sequence_for<Ts...>{});
}

} // namespace espalier
