// SPDX-License-Identifier: Apache-2.0
// host only. Orders and subsets of rows from counter-based bits, the same on every system of Thrust and without Thrust.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/thrust/scratch.hpp>

#include <thrust/copy.h>
#include <thrust/count.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace espalier {

/// The 64 bits that say where a row stands in the random order of a site: words 2 (row & 1) and 2 (row & 1) + 1 of
/// draw(site, low 32 bits of row / 2, high 32 bits of row / 2), the first one above.
struct order_word {
    random_site site;

    ESPALIER_FN constexpr std::uint64_t operator()(index_t row) const {
        auto const pair = static_cast<std::uint64_t>(row) / 2;
        bits8 const bits = draw(site, static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32));
        int const half = 2 * static_cast<int>(row & 1);
        return std::uint64_t(bits.word[half]) << 32 | bits.word[half + 1];
    }
};

namespace detail {

template <class T> void check_rows(char const* what, index_t n) {
    if (n > 0 && static_cast<std::uint64_t>(n - 1) > static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
        throw_data_error(what, ": ", n, " rows do not fit numbers up to ", std::numeric_limits<T>::max());
}
template <class T> void check_subset(index_t n, array_view<T> out) {
    check_rows<T>("random_subset", n);
    if (out.size > n) throw_data_error("random_subset: ", out.size, " of ", n, " rows were asked for");
}

/// Almost surely at least k and not many more of n words are at most this one.
inline std::uint64_t order_bound(index_t k, index_t n) {
    double const wanted = static_cast<double>(k),
                 share = (wanted + 6.0 * std::sqrt(wanted) + 10.0) / static_cast<double>(n);
    return share < 1.0 ? static_cast<std::uint64_t>(share * 0x1p64) : ~std::uint64_t(0);
}

struct word_up_to {
    order_word word;
    std::uint64_t bound;

    ESPALIER_FN constexpr bool operator()(index_t row) const { return word(row) <= bound; }
};

using numbered_row = std::pair<std::uint64_t, index_t>;

template <class T>
void subset_of_words_up_to(std::uint64_t bound, random_site const& site, index_t n, array_view<T> out) {
    order_word const word{site};
    std::vector<numbered_row> found;
    for (;; bound = ~std::uint64_t(0)) {
        found.clear();
        for (index_t row = 0; row < n; ++row)
            if (auto const bits = word(row); bits <= bound) found.push_back({bits, row});
        if (static_cast<index_t>(found.size()) >= out.size) break;
    }
    std::nth_element(found.begin(), found.begin() + out.size, found.end());
    for (index_t i = 0; i < out.size; ++i)
        out[i] = static_cast<T>(found[static_cast<std::size_t>(i)].second);
    std::sort(out.begin(), out.end());
}

template <class System, class T>
void subset_of_words_up_to(std::uint64_t bound, System const& system, random_site const& site, index_t n,
                           array_view<T> out) {
    order_word const word{site};
    ::thrust::counting_iterator<index_t> const rows(0);
    index_t count = ::thrust::count_if(system, rows, rows + n, word_up_to{word, bound});
    if (count < out.size) {
        bound = ~std::uint64_t(0);
        count = n;
    }
    scratch<index_t, System> const found(system, count);
    scratch<std::uint64_t, System> const words(system, count);
    ::thrust::copy_if(system, rows, rows + n, found.data(), word_up_to{word, bound});
    ::thrust::transform(system, found.begin(), found.end(), words.data(), word);
    ::thrust::stable_sort_by_key(system, words.begin(), words.end(), found.data());
    ::thrust::copy_n(system, found.data(), out.size, out.data);
    ::thrust::sort(system, out.begin(), out.end());
}

} // namespace detail

/// The numbers 0 ... n - 1, n = out.size, sorted by their `order_word`, equal words by number: every order is as likely
/// as any other, but for words that are equal (less than n^2 / 2^65). It depends on the site alone. It is not the order
/// of random_permutation, which shuffles in sequence and gives fit's epochs theirs. O(n log n); 16 bytes a row.
/// Throws data_error when T cannot hold n - 1.
template <std::integral T> void random_order(random_site const& site, array_view<T> out) {
    detail::check_rows<T>("random_order", out.size);
    order_word const word{site};
    std::vector<detail::numbered_row> rows(static_cast<std::size_t>(out.size));
    for (index_t row = 0; row < out.size; ++row)
        rows[static_cast<std::size_t>(row)] = {word(row), row};
    std::sort(rows.begin(), rows.end());
    for (index_t i = 0; i < out.size; ++i)
        out[i] = static_cast<T>(rows[static_cast<std::size_t>(i)].second);
}

/// The same order on the system of a Thrust policy, where `out` lies: thrust::omp::par, thrust::cuda::par.on(stream)
/// and others. Takes 8 bytes a row from the policy's memory, and what Thrust sorts with.
template <class System, std::integral T>
void random_order(System const& system, random_site const& site, array_view<T> out) {
    detail::check_rows<T>("random_order", out.size);
    detail::scratch<std::uint64_t, System> const words(system, out.size);
    ::thrust::counting_iterator<index_t> const rows(0);
    ::thrust::transform(system, rows, rows + out.size, words.data(), order_word{site});
    ::thrust::sequence(system, out.begin(), out.end());
    ::thrust::stable_sort_by_key(system, words.begin(), words.end(), out.data);
}

/// The first out.size rows of the random order of n rows, as an ascending list: a subset of fixed size, every one as
/// likely as any other, and contained in larger ones of the same site. O(n + k log k) for k rows, with 16 bytes for
/// each of little more than k rows. Throws data_error for more rows than there are, and when T cannot hold n - 1.
template <std::integral T> void random_subset(random_site const& site, index_t n, array_view<T> out) {
    detail::check_subset(n, out);
    detail::subset_of_words_up_to(detail::order_bound(out.size, n), site, n, out);
}

/// The same subset on the system of a Thrust policy, where `out` lies. Draws the words of all rows twice, which costs
/// less than to keep them.
template <class System, std::integral T>
void random_subset(System const& system, random_site const& site, index_t n, array_view<T> out) {
    detail::check_subset(n, out);
    detail::subset_of_words_up_to(detail::order_bound(out.size, n), system, site, n, out);
}

} // namespace espalier
