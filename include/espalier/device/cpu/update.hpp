// SPDX-License-Identifier: Apache-2.0
// host only. The update of one tensor on one core: one read and one write of the weights for any composition of
// penalties, transforms, optimizer, prox and mask.
#pragma once

#include <espalier/core/finite.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/bits.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace espalier::cpu {

namespace detail {

/// Lanes of a bit mask starting at element i.
template <class P> ESPALIER_FN mask_of<P> load_mask(std::uint32_t const* words, index_t i) {
    constexpr int lanes = pack_width<P>;
    using U = std::conditional_t<sizeof(scalar_of<P>) == 4, std::uint32_t, std::uint64_t>;
    std::uint32_t word = words[i / 32] >> (i % 32);
    if (i % 32 + lanes > 32) word |= words[i / 32 + 1] << (32 - i % 32);
    U bit[std::size_t{lanes}];
    for (int k = 0; k < lanes; ++k)
        bit[k] = U(1) << k;
    return (pack<U, lanes>(static_cast<U>(word)) & pack<U, lanes>::load(bit)) != pack<U, lanes>(U(0));
}

template <class Optimizer, class Rule, class T> struct update_loop {
    using P = native_pack<T>;
    static constexpr index_t lanes = pack_width<P>;
    static constexpr int moments = Optimizer::moments;
    static constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
    static constexpr int value_count = Rule::penalty_count + scalars + 1;
    /// From the draws of one transform to those of the next.
    static constexpr index_t draw_stride = sizeof(draw_buffer) / sizeof(std::uint16_t);

    Optimizer const& optimizer;
    Rule const& rule;
    update_segment<T> const& s;

    /// What one pack of weights needs besides its place. A strip makes its own copy: read through a pointer, every
    /// number would have to be loaded and converted again after each store to the weights, which might have changed it.
    struct constants {
        Optimizer optimizer;
        Rule rule;
        update_segment<T> s;
        P rate;
        P decay;
        P global_norm;
    };
    constants make_constants() const {
        return {optimizer,
                rule,
                s,
                P(static_cast<T>(optimizer.rate() * s.rates.learning_rate)),
                P(static_cast<T>(s.rates.decay)),
                P(static_cast<T>(s.global_norm))};
    }

    /// One pack of weights at element i; `count` of its lanes are weights.
    template <bool Partial, class Norm>
    ESPALIER_HOST_FN static P element(constants const& k, index_t i, int count, std::uint16_t const* draws,
                                      Norm const& norm, P* sums, finite_watch<P>& watch) {
        auto const& s = k.s;
        auto const get = [&](T const* p) {
            if constexpr (Partial)
                return P::load(p, count);
            else
                return P::load(p);
        };
        auto const put = [&](T* p, P const& v) {
            if constexpr (Partial)
                v.store(p, count);
            else
                v.store(p);
        };
        P const w = get(s.weights + i);
        P moment[std::size_t{moments + 1}];
        for (int m = 0; m < moments; ++m)
            moment[m] = get(s.moments + m * s.moment_stride + i);
        element_about<P> about{.weight = w, .rate = k.rate, .global_norm = k.global_norm};
        if constexpr (Rule::uses_mask) about.keep = load_mask<P>(s.mask, i);
        if constexpr (Rule::needs_reference) about.reference = get(s.reference + i);
        auto const companion = [&](int number) { return get(s.companions + number * s.companion_stride + i); };
        P const next = update_element(
            k.optimizer, k.rule, get(s.gradients + i), moment, k.decay, about,
            [&](int number) { return load_bits<P>(draws + number * draw_stride); }, norm,
            [&](int penalty, P const& v) {
                if constexpr (Partial)
                    sums[penalty] = sums[penalty] + select(mask_of<P>::first(count), v, P(T(0)));
                else
                    sums[penalty] = sums[penalty] + v;
            },
            companion);
        put(s.weights + i, next);
        watch.see(next);
        for (int m = 0; m < moments; ++m) {
            watch.see(moment[m]);
            put(s.moments + m * s.moment_stride + i, moment[m]);
        }
        if constexpr (espalier::detail::writes_operands<Optimizer, Rule>)
            put(s.operands + i,
                weight::detail::effective_weight(k.rule.map, next, about.keep,
                                                 espalier::detail::companions_of_map<Rule, P>(companion)));
        return next;
    }

    /// Elements [first, first + n), n at most strip_draws. What they add to the gradients of the map's trained numbers
    /// is added to `of_scalars`.
    template <class Norm, class Then>
    ESPALIER_HOST_FN void strip(index_t first, index_t n, draw_buffer* draws, finite_watch<P>& watch, Norm const& norm,
                                [[maybe_unused]] double* of_scalars, Then const& then) const {
        for (int k = 0; k < Rule::draws; ++k) {
            random_site site = s.site;
            site.pass += static_cast<std::uint32_t>(k); // the number of the draw
            // The tensor is one long row: element i is column i of row 0.
            fill_bits(site, std::uint32_t{0}, 1, static_cast<std::uint32_t>(first / 8),
                      static_cast<std::uint32_t>((n + first % 8 + 7) / 8), draws[k].value);
        }
        std::uint16_t const* const bits = draws[0].value + first % 8;
        constants const k = make_constants();
        P sums[std::size_t{value_count}];
        for (auto& sum : sums)
            sum = P(T(0));
        finite_watch<P> seen;
        index_t i = 0;
        for (; i + lanes <= n; i += lanes)
            then(i, static_cast<int>(lanes), element<false>(k, first + i, lanes, bits + i, norm(i, lanes), sums, seen));
        if (i < n) {
            int const rest = static_cast<int>(n - i);
            then(i, rest, element<true>(k, first + i, rest, bits + i, norm(i, rest), sums, seen));
        }
        watch.join(seen);
        if (s.values)
            for (int p = 0; p < Rule::penalty_count; ++p)
                s.values[p] += static_cast<double>(horizontal_sum(sums[p]));
        for (int p = 0; p < scalars; ++p)
            of_scalars[p] += static_cast<double>(horizontal_sum(sums[Rule::penalty_count + p]));
    }

    bool run() const {
        draw_buffer draws[Rule::draws > 0 ? Rule::draws : 1];
        finite_watch<P> watch;
        double of_scalars[std::size_t{scalars + 1}] = {};
        if constexpr (!Rule::grouped) {
            index_t const n = s.rows * s.columns;
            auto const no_norm = [](index_t, index_t) { return [](int) { return P(T(0)); }; };
            for (index_t i = 0; i < n; i += strip_draws)
                strip(i, n - i < strip_draws ? n - i : strip_draws, draws, watch, no_norm, of_scalars,
                      [](index_t, int, P const&) {});
        } else {
            [[maybe_unused]] double sum = 0.0; // of all rows
            for (index_t r = 0; r < s.rows; ++r) {
                P row_sum(T(0));
                for (index_t c0 = 0; c0 < s.columns; c0 += strip_draws) {
                    index_t const n = s.columns - c0 < strip_draws ? s.columns - c0 : strip_draws;
                    auto const norm = [&](index_t c, index_t count) {
                        return [this, r, at = c0 + c, count](int group) {
                            group_scope const scope = Rule::scope(group);
                            if (scope != group_scope::columns)
                                return P(s.norms[group][scope == group_scope::rows ? r : 0]);
                            return count == lanes ? P::load(s.norms[group] + at)
                                                  : P::load(s.norms[group] + at, static_cast<int>(count));
                        };
                    };
                    strip(r * s.columns + c0, n, draws, watch, norm, of_scalars, [&](index_t c, int count, P const& w) {
                        P const square = select(mask_of<P>::first(count), w * w, P(T(0)));
                        row_sum = row_sum + square;
                        for (int g = 0; g < Rule::group_sets; ++g) {
                            if (Rule::scope(g) != group_scope::columns) continue;
                            T* const to = s.next_norms[g] + c0 + c;
                            (P::load(to, count) + square).store(to, count);
                        }
                    });
                }
                for (int g = 0; g < Rule::group_sets; ++g)
                    if (Rule::scope(g) == group_scope::rows) s.next_norms[g][r] += horizontal_sum(row_sum);
                if constexpr (Rule::groups_over(group_scope::tensor))
                    sum += static_cast<double>(horizontal_sum(row_sum));
            }
            for (int g = 0; g < Rule::group_sets; ++g)
                if (Rule::scope(g) == group_scope::tensor) *s.next_norms[g] += static_cast<T>(sum);
        }
        for (int k = 0; k < scalars; ++k)
            s.scalar_gradients[k * weight::detail::scalar_stride] = static_cast<T>(of_scalars[k]);
        return watch.all_finite();
    }
};

} // namespace detail

/// Updates one tensor. Frozen tensors are the caller's to skip. Returns whether all weights and moments are finite now.
template <class T, class Optimizer, class Rule>
bool update(Optimizer const& optimizer, Rule const& rule, update_segment<T> const& segment) {
    if constexpr (Rule::scalars > 0) {
        Rule const made = espalier::detail::with_scalars(rule, segment.scalars);
        return detail::update_loop<Optimizer, Rule, T>{optimizer, made, segment}.run();
    } else {
        return detail::update_loop<Optimizer, Rule, T>{optimizer, rule, segment}.run();
    }
}

/// Elements that the mask does not keep become 0.
template <class T> void clear_left_out(T* p, std::uint32_t const* mask, index_t n) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    for (index_t i = 0; i < n; i += lanes) {
        int const count = static_cast<int>(n - i < lanes ? n - i : lanes);
        select(detail::load_mask<P>(mask, i), P::load(p + i, count), P(T(0))).store(p + i, count);
    }
}

/// Whether all of n numbers are finite.
template <class T> bool all_finite(T const* p, index_t n) {
    using P = native_pack<T>;
    if constexpr (!finite_watch<P>::watches) return true;
    constexpr index_t lanes = pack_width<P>, strip = 4 * lanes;
    // Several sums, for one would wait for its own additions.
    finite_watch<P> watch, second, third, fourth;
    index_t i = 0;
    for (; i + strip <= n; i += strip) {
        watch.see(P::load(p + i));
        second.see(P::load(p + i + lanes));
        third.see(P::load(p + i + 2 * lanes));
        fourth.see(P::load(p + i + 3 * lanes));
    }
    for (; i < n; i += lanes)
        watch.see(P::load(p + i, static_cast<int>(n - i < lanes ? n - i : lanes)));
    watch.join(second);
    third.join(fourth);
    watch.join(third);
    return watch.all_finite();
}

/// sum of squares of a tensor in a fixed order, for norms over the whole network. Squares that single precision cannot
/// hold are taken in double: the norm of finite floats is finite.
template <class T> double sum_of_squares(T const* p, index_t n) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    constexpr index_t strip = 4096;
    double total = 0.0;
    for (index_t s = 0; s < n; s += strip) {
        index_t const end = n - s < strip ? n : s + strip;
        P sum(T(0));
        index_t i = s;
        for (; i + lanes <= end; i += lanes) {
            P const v = P::load(p + i);
            sum = sum + v * v;
        }
        if (i < end) {
            P const v = P::load(p + i, static_cast<int>(end - i));
            sum = sum + v * v;
        }
        double part = static_cast<double>(horizontal_sum(sum));
        if constexpr (std::is_same_v<T, float>)
            if (!(part <= static_cast<double>(std::numeric_limits<float>::max()))) {
                part = 0.0;
                for (index_t k = s; k < end; ++k)
                    part += static_cast<double>(p[k]) * static_cast<double>(p[k]);
            }
        total += part;
    }
    return total;
}

} // namespace espalier::cpu
