// SPDX-License-Identifier: Apache-2.0
// N of every M consecutive inputs of an output are kept.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/select.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier::prune {

namespace detail {

template <int N, int M> consteval auto n_m_text() {
    std::array<char, 8> text{};
    std::size_t at = 0;
    auto const put = [&](int number) {
        if (number >= 10) text[at++] = static_cast<char>('0' + number / 10);
        text[at++] = static_cast<char>('0' + number % 10);
    };
    put(N);
    text[at++] = ':';
    put(M);
    return text;
}

template <int N, int M> inline constexpr auto n_m_name = n_m_text<N, M>();

} // namespace detail

/// Down every column of a kernel (inputs x outputs), each group of M consecutive weights keeps the N most valuable ones
/// (Zhou et al. 2021, "Learning N:M fine-grained structured sparse neural networks from scratch"). A last, shorter
/// group keeps min(N, its size). The schedule says when: while its sparsity is 0 everything is kept, any other value
/// means N of M.
template <int N, int M> struct n_m {
    static_assert(diagnostic::holds<(N >= 1 && N <= M && M <= 32), diagnostic::given<N>, diagnostic::given<M>>,
                  "espalier: prune::n_m<N, M> needs 1 <= N <= M <= 32");
    static constexpr std::string_view name{detail::n_m_name<N, M>.data()};
    static constexpr bool global = false;
    static constexpr double sparsity = 1.0 - static_cast<double>(N) / M;
    static constexpr int kept_of_group = N, rows_of_group = M;

    template <class Criterion, class T> static void select(matrix_view<T const> w, double share, std::uint32_t* mask) {
        if (share > 0.0)
            select_n_m<Criterion, N, M>(w, mask);
        else
            detail::fill_bits(mask, w.rows * w.columns, true);
    }
};

} // namespace espalier::prune
