// SPDX-License-Identifier: Apache-2.0
// host only. What policies that mix two rows of a batch share: how often, with whom, and how targets follow.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/schedule/concept.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

namespace espalier::batch {

/// Whether one random mixture serves the whole batch or every row has its own.
enum class mixed_per { batch, row };

/// A number from Beta(alpha, alpha), alpha > 0 and finite, from the draws 0, 1, ... of (row, block) at the site: two
/// uniforms u, v = (k + 1/2) / 2^53 each. alpha = 1: u. alpha < 1: Johnk 1964, u^(1/alpha) / (u^(1/alpha) +
/// v^(1/alpha)) of the first pair whose sum is at most 1, in logarithms, so that small alpha gives 0 and 1 and not 0/0.
/// alpha > 1: algorithm BB of Cheng 1978, "Generating beta variates with nonintegral shape parameters", for equal
/// parameters; beyond 2^40 with its limit for large alpha, whose share is 1/2 to all digits in the end. At least half
/// of the pairs are accepted.
inline double symmetric_beta(random_site const& site, std::uint32_t row, std::uint32_t block, double alpha) {
    constexpr double most = std::numeric_limits<double>::max();
    auto const uniform = [](std::uint32_t high, std::uint32_t low) {
        return (static_cast<double>((std::uint64_t(high) << 21) | (low >> 11)) + 0.5) * 0x1p-53;
    };
    for (std::uint32_t number = 0;; ++number) {
        bits8 const bits = draw(site, row, block, number);
        double const u = uniform(bits.word[0], bits.word[1]), v = uniform(bits.word[2], bits.word[3]);
        bool const last = number == 0xffff; // never: each try fails with a probability of at most 1/2
        if (alpha == 1.0) return u;
        if (alpha < 1.0) {
            double const x = std::log(u) / alpha, y = std::log(v) / alpha;
            if (std::exp(x) + std::exp(y) <= 1.0 || last) {
                // Both may be minus infinity, where their difference is none: then it is taken before the division.
                double const above = std::log(v) - std::log(u);
                if (!(x - y < most && y - x < most)) return above > 0.0 ? 0.0 : above < 0.0 ? 1.0 : 0.5;
                return 1.0 / (1.0 + std::exp(y - x));
            }
        } else if (alpha > 0x1p40) {
            // With t = log(u / (1 - u)) and w = alpha exp(t / sqrt(alpha)), Cheng's test
            //     (alpha + sqrt(alpha)) t / sqrt(alpha) - log 4 + 2 alpha log(2 alpha / (alpha + w)) >= log(u u v)
            // is t - log 4 - 2 alpha log cosh(t / (2 sqrt(alpha))) >= log(u u v): without its large terms, which would
            // overflow and have cancelled each other to nothing long before.
            double const t = std::log(u / (1.0 - u));
            if (t - 1.3862943611198906 - 0.25 * t * t >= std::log(u * u * v) || last)
                return 1.0 / (1.0 + std::exp(-t / std::sqrt(alpha)));
        } else {
            double const log_ratio = std::log(u / (1.0 - u)) / std::sqrt(alpha);
            double const w = alpha * std::exp(log_ratio);
            double const r = (alpha + std::sqrt(alpha)) * log_ratio - 1.3862943611198906;
            if (r + 2.0 * alpha * std::log(2.0 * alpha / (alpha + w)) >= std::log(u * u * v) || last)
                return w / (alpha + w);
        }
    }
}

namespace detail {

/// Blocks of the site: 0 orders the partners (core/random.hpp, `shuffle`), the others are used as named.
inline constexpr std::uint32_t decision_block = 1, share_block = 2, place_block = 3;

inline void check_alpha(double alpha, std::string_view policy) {
    if (!(alpha > 0.0 && schedule::finite(alpha)))
        espalier::detail::throw_data_error("batch ", policy, ": its alpha is ", alpha,
                                           ", needed is a finite number above 0");
}
inline void check_probability(double p, std::string_view policy) {
    if (!(p >= 0.0 && p <= 1.0))
        espalier::detail::throw_data_error("batch ", policy, ": its probability is ", p,
                                           ", needed is a number in [0, 1]");
}

template <class T> void copy_rows(batch_memory<T> const& batch, index_t n) {
    for (index_t i = 0; i < n; ++i)
        std::memcpy(batch.inputs.row(i), batch.source.row(i),
                    static_cast<std::size_t>(batch.inputs.columns) * sizeof(T));
}

/// Whether this batch is mixed at all.
inline bool mixes_now(random_site const& site, double probability) {
    bits8 const bits = draw(site, 0, decision_block);
    return uniform01(bits.word[0], bits.word[1]) < probability;
}

/// The partners of the rows, a permutation, until `mixing` gets its own numbers. Nothing is allocated in a step, and a
/// float holds every row number exactly.
template <class T> void draw_partners(batch_memory<T> const& batch, index_t n, random_site const& site) {
    if (n > (index_t(1) << 24))
        espalier::detail::throw_data_error("a batch of ", n, " rows was to be mixed; at most 16777216");
    for (index_t i = 0; i < n; ++i)
        batch.mixing[i] = static_cast<float>(i);
    shuffle(site, array_view<float>{batch.mixing, n});
}
template <class T> index_t partner_of(batch_memory<T> const& batch, index_t i) {
    return static_cast<index_t>(batch.mixing[i]);
}

/// The labels of the partners; targets t_i <- s_i t_i + (1 - s_i) t_partner, in place; at last mixing_i = s_i.
/// `share(i)` is row i's share in itself.
template <class T, class Share> void mix_tags(batch_memory<T> const& batch, index_t n, Share const& share) {
    if (batch.label && batch.partner_label)
        for (index_t i = 0; i < n; ++i)
            batch.partner_label[i] = batch.label[partner_of(batch, i)];
    if (batch.targets.data)
        for (index_t first = 0; first < n; ++first) {
            // A row may be overwritten once its predecessor in the cycle has read it: cycles start at their smallest
            // row.
            index_t row = partner_of(batch, first);
            while (row > first)
                row = partner_of(batch, row);
            if (row < first) continue;
            for (index_t c = 0; c < batch.targets.columns; ++c) {
                auto const kept = batch.targets(first, c);
                for (row = first;;) {
                    index_t const next = partner_of(batch, row);
                    master_of<T> const s = share(row), other = next == first ? kept : batch.targets(next, c);
                    batch.targets(row, c) = s * batch.targets(row, c) + (1 - s) * other;
                    if (next == first) break;
                    row = next;
                }
            }
        }
    for (index_t i = 0; i < n; ++i)
        batch.mixing[i] = share(i);
}

} // namespace detail
} // namespace espalier::batch
