// SPDX-License-Identifier: Apache-2.0
// host only. Moving rows to experts and back on one core.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace espalier::cpu {

namespace detail {

/// to[c] = value(c, load) for n elements, a pack at a time: `load(p)` reads what stands at p for these columns. Packs
/// by name, because -O2 of GCC 12 leaves most loops alone.
template <class T, class F, class Value = native_pack<T>> inline void write_row(T* to, index_t n, F const& value) {
    constexpr int width = pack_width<Value>;
    index_t c = 0;
    for (; c + width <= n; c += width)
        value(c, [](T const* p) { return Value::load(p); }).store(to + c);
    if (c < n) {
        int const left = static_cast<int>(n - c);
        value(c, [left](T const* p) { return Value::load(p, left); }).store(to + c, left);
    }
}

/// to[c] += factor * from[c]
template <class T> inline void add_scaled(T* to, T const* from, T factor, index_t n) {
    write_row(to, n, [&](index_t c, auto const& load) {
        auto const x = load(from + c);
        return fma(decltype(x)(factor), x, load(to + c));
    });
}

template <class T> inline T dot(T const* a, T const* b, index_t n) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    P sum(T(0));
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
        sum = fma(P::load(a + c), P::load(b + c), sum);
    if (c < n) sum = fma(P::load(a + c, static_cast<int>(n - c)), P::load(b + c, static_cast<int>(n - c)), sum);
    return horizontal_sum(sum);
}

/// Slots of a row that go to the same expert as an earlier one, where they share it.
template <class T> class shared_slots {
public:
    shared_slots(bool shared, matrix_view<T const> weights, matrix_view<std::int32_t const> experts)
        : shared_(shared), weights_(weights), experts_(experts) {
        for (index_t& place : seen_)
            place = -1;
    }
    /// The slot before s of row r that goes to the same expert, or -1. Asked for every filled slot in row order.
    index_t operator()(index_t r, index_t s) {
        if (!shared_) return -1;
        std::int32_t const e = experts_(r, s);
        if (e >= most) return search(r, s);
        index_t const row = r * weights_.columns, place = seen_[e] - row;
        if (place >= 0) return place;
        seen_[e] = row + s;
        return -1;
    }
    /// The same in any order.
    index_t search(index_t r, index_t s) const {
        for (index_t before = 0; shared_ && before < s; ++before)
            if (weights_(r, before) != T(0) && experts_(r, before) == experts_(r, s)) return before;
        return -1;
    }

private:
    static constexpr int most = 256; ///< experts whose last place is remembered
    bool shared_;
    matrix_view<T const> weights_;
    matrix_view<std::int32_t const> experts_;
    index_t seen_[most];
};

} // namespace detail

/// Stable counting sort of the filled slots by expert. `experts` has no data when slot s is expert s. With a capacity,
/// an expert takes the first choices of all rows in row order, then the second ones, until it is full; what does not
/// fit has no pair.
template <class T>
void build_pairs(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                 pair_plan const& plan, pair_table const& table) {
    constexpr std::int32_t empty = -1, wanted = 0;
    index_t const slots = weights.columns;
    auto const expert_of = [&](index_t r, index_t s) {
        return experts.data ? experts(r, s) : static_cast<std::int32_t>(s);
    };
    auto const pair_of = [&](index_t r, index_t s) -> std::int32_t& { return table.pair[r * slots + s]; };
    detail::shared_slots<T> counted(plan.shared, weights, experts), placed(plan.shared, weights, experts);
    for (int e = 0; e < plan.experts; ++e)
        table.count[e] = 0;
    if (plan.capacity > 0) {
        for (index_t s = 0; s < slots; ++s)
            for (index_t r = 0; r < weights.rows; ++r) {
                pair_of(r, s) = empty;
                if (weights(r, s) == T(0)) continue;
                if (index_t const other = counted.search(r, s); other >= 0) {
                    pair_of(r, s) = pair_of(r, other);
                } else if (std::int32_t& n = table.count[expert_of(r, s)]; n < plan.capacity) {
                    ++n;
                    pair_of(r, s) = wanted;
                }
            }
    } else {
        for (index_t r = 0; r < weights.rows; ++r)
            for (index_t s = 0; s < slots; ++s) {
                pair_of(r, s) = empty;
                if (weights(r, s) == T(0)) continue;
                pair_of(r, s) = wanted;
                if (counted(r, s) < 0) ++table.count[expert_of(r, s)];
            }
    }
    index_t at = 0;
    for (int e = 0; e < plan.experts; ++e) {
        table.first[e] = static_cast<std::int32_t>(at);
        at += (table.count[e] + plan.granule - 1) / plan.granule * plan.granule;
        table.count[e] = 0;
    }
    for (index_t r = 0; r < weights.rows; ++r)
        for (index_t s = 0; s < slots; ++s) {
            std::int32_t& pair = pair_of(r, s);
            if (pair == empty) continue;
            if (index_t const other = placed(r, s); other >= 0) {
                pair = pair_of(r, other);
                continue;
            }
            std::int32_t const e = expert_of(r, s);
            pair = table.first[e] + table.count[e]++;
            table.row[pair] = static_cast<std::int32_t>(r);
            table.slot[pair] = static_cast<std::int32_t>(s);
            table.origin[pair] = batch.origin_of(r);
        }
}

namespace detail {

/// to = a x + b y, after what `to` holds unless it is `Fresh`; each product is added by one operation, in this order,
/// however many there are. A null y stands for one product less.
template <bool Fresh, class T> inline void add_two(T* to, T a, T const* x, T b, T const* y, index_t columns) {
    write_row(to, columns, [&](index_t c, auto const& load) {
        auto const first = load(x + c);
        using P = std::remove_cv_t<decltype(first)>;
        P const sum = Fresh ? P(a) * first : fma(P(a), first, load(to + c));
        return y ? fma(P(b), load(y + c), sum) : sum;
    });
}

} // namespace detail

/// y_r = sum over the slots s of weight(r, s) * output(r, s), in slot order; two of them in one pass over the row.
template <class T> void combine(matrix_view<T const> weights, expert_outputs<T> const& output, matrix_view<T> y) {
    index_t const slots = weights.columns;
    for (index_t r = 0; r < y.rows; ++r) {
        T* const to = y.row(r);
        index_t s = 0;
        T w(0);
        auto const next = [&]() -> T const* {
            for (; s < slots; ++s) {
                w = weights(r, s);
                if (w == T(0)) continue;
                if (T const* const from = output(r, s)) {
                    ++s;
                    return from;
                }
            }
            return nullptr;
        };
        T const* first = next();
        if (!first)
            for (index_t c = 0; c < y.columns; ++c)
                to[c] = T(0);
        for (bool fresh = true; first; fresh = false) {
            T const a = w;
            T const* const second = next();
            if (fresh)
                detail::add_two<true>(to, a, first, w, second, y.columns);
            else
                detail::add_two<false>(to, a, first, w, second, y.columns);
            first = second ? next() : nullptr;
        }
    }
}

/// dweight(r, s) = <dy_r, output(r, s)>, 0 for slots without an output.
template <class T>
void weight_gradients(matrix_view<T const> weights, matrix_view<T const> dy, expert_outputs<T> const& output,
                      matrix_view<T> dweights) {
    for (index_t r = 0; r < dy.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s) {
            T const* const from = weights(r, s) != T(0) ? output(r, s) : nullptr;
            dweights(r, s) = from ? detail::dot<T>(dy.row(r), from, dy.columns) : T(0);
        }
}

/// d_i = sum over the tasks of the weight of the expert in row i of the block * dy of that row and task.
template <class T>
void expert_gradient(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, mixture_tasks const& tasks,
                     expert_pairs const& block, matrix_view<T const> dy, matrix_view<T> d) {
    bool const one_slot = tasks.count == 1 && (block.row ? block.slot && !block.pair : !experts.data);
    for (index_t i = 0; i < d.rows; ++i) {
        index_t const r = block.row ? block.row[i] : i;
        T* const to = d.row(i);
        if (one_slot) {
            T const factor = weights(r, block.row ? block.slot[i] : block.expert);
            T const* const from = dy.row(r);
            detail::write_row(to, d.columns, [&](index_t c, auto const& load) {
                auto const x = load(from + c);
                return decltype(x)(factor) * x;
            });
            continue;
        }
        for (index_t c = 0; c < d.columns; ++c)
            to[c] = T(0);
        for (int t = 0; t < tasks.count; ++t)
            for (index_t s = tasks.first_slot[t]; s < tasks.first_slot[t + 1]; ++s)
                if (weights(r, s) != T(0) && block.holds(r, s, i, weights.columns, experts))
                    detail::add_scaled(to, dy.row(r) + t * d.columns, weights(r, s), d.columns);
    }
}

/// to_row[i] += from_i
template <class T> void scatter_add(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
    for (index_t i = 0; i < from.rows; ++i)
        detail::add_scaled(to.row(row[i]), from.row(i), T(1), from.columns);
}

/// dx_r += weight(r, s) dy_r of the task for the slots s that had no pair and took the row itself.
template <class T>
void pass_back(matrix_view<T const> weights, mixture_tasks const& tasks, std::int32_t const* pair,
               matrix_view<T const> dy, matrix_view<T> dx) {
    for (index_t r = 0; r < dx.rows; ++r)
        for (int t = 0; t < tasks.count; ++t)
            for (index_t s = tasks.first_slot[t]; s < tasks.first_slot[t + 1]; ++s)
                if (weights(r, s) != T(0) && pair[r * weights.columns + s] < 0)
                    detail::add_scaled(dx.row(r), dy.row(r) + t * dx.columns, weights(r, s), dx.columns);
}

/// What `mixture_measures` lists, then every expert's share of the rows that were sent to experts. `pair` is null when
/// every filled slot was served. Slots of a row with the same expert, where they share it, count as one.
template <class T>
void measure_mixture(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, std::int32_t const* pair,
                     pair_plan const& plan, double* measures) {
    double* const load = measures + mixture_measures;
    for (int e = 0; e < plan.experts; ++e)
        load[e] = 0.0;
    index_t filled = 0, served = 0;
    detail::shared_slots<T> shared(plan.shared, weights, experts);
    for (index_t r = 0; r < weights.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s) {
            if (weights(r, s) == T(0)) continue;
            if (shared(r, s) >= 0) continue;
            ++filled;
            served += !pair || pair[r * weights.columns + s] >= 0;
            load[experts.data ? experts(r, s) : s] += 1.0;
        }
    double entropy = 0.0;
    for (int e = 0; e < plan.experts && filled > 0; ++e) {
        load[e] /= static_cast<double>(filled);
        if (load[e] > 0.0) entropy -= load[e] * std::log(load[e]);
    }
    measures[0] = weights.rows > 0 ? static_cast<double>(served) / static_cast<double>(weights.rows) : 0.0;
    measures[1] = filled > 0 ? static_cast<double>(filled - served) / static_cast<double>(filled) : 0.0;
    measures[2] = entropy;
}

} // namespace espalier::cpu
