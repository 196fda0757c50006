// SPDX-License-Identifier: Apache-2.0
// N of every M consecutive inputs of an output are kept.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/mask_selection.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier::prune {

namespace detail {

/// Calls put(character) for the digits of a number.
template <class Put> constexpr void put_number(std::uint64_t x, Put const& put) {
    std::uint64_t digit = 1;
    while (x / digit >= 10)
        digit *= 10;
    for (; digit > 0; digit /= 10)
        put(static_cast<char>('0' + x / digit % 10));
}

template <int N, int M> consteval auto n_m_text() {
    std::array<char, 8> text{};
    std::size_t at = 0;
    [[maybe_unused]] auto const put = [&](char c) { text[at++] = c; };
    if constexpr (group_pattern{N, M}.possible()) { // others are refused below
        put_number(N, put);
        put(':');
        put_number(M, put);
    }
    return text;
}

template <int N, int M> inline constexpr auto n_m_name = n_m_text<N, M>();

} // namespace detail

/// Down every column of a kernel (inputs x outputs), each group of M consecutive weights keeps the N most valuable ones
/// (Zhou et al. 2021, "Learning N:M fine-grained structured sparse neural networks from scratch"). A last, shorter
/// group keeps min(N, its size). The schedule says when: while its sparsity is 0 everything is kept, any other value
/// means N of M.
template <int N, int M> struct n_m {
    static_assert(diagnostic::holds<group_pattern{N, M}.possible(), diagnostic::given<N>, diagnostic::given<M>>,
                  "espalier: prune::n_m<N, M> needs 1 <= N <= M <= 256");
    static constexpr std::string_view name{detail::n_m_name<N, M>.data()};
    static constexpr bool global = false;
    static constexpr group_pattern at(clock const&) { return {N, M}; }
};

} // namespace espalier::prune
