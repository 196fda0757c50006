// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of row-wise gates, and the top-k choice over a row.
//
// Archetype of a gate's op: what happens to one row of logits that a group of lanes holds.
//
//     struct my_gate_op {
//         static constexpr int experts = 64;        // columns of a row of logits
//         static constexpr int most_pairs = 2;      // pairs that a row can have at most
//         template <class Group, class T, int E>
//         ESPALIER_FN void forward(Group const& group, row<Group, T, E> const& logits, gate_pairs<T, most_pairs>&
//         pairs)
//             const;                                // the same pairs on every lane
//         template <class Group, class T, int E>
//         ESPALIER_FN void backward(Group const& group, row<Group, T, E> const& logits,
//                                   gate_pairs<T, most_pairs> const& pairs, T const (&dweight)[most_pairs],
//                                   row<Group, T, E>& dlogits) const; // d loss / d logits from d loss / d weight
//     };
//
// A row leaves its pairs in slots 0 ... most_pairs - 1; an expert of -1 marks a slot without a pair, weight 0.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/row_map.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// The (expert, weight) pairs of one row.
template <class T, int K> struct gate_pairs {
    std::int32_t expert[K];
    T weight[K];
};

/// Over what a top-k gate normalises: softmax over the winners' logits, or over all of them.
enum class gate_normaliser { winners, all };

namespace detail {

/// A column in the order of a top-k choice: numbers before NaN before what is out of the race; larger first; of equal
/// ones (-0 and 0 are) the lower column.
template <class T> struct gate_candidate {
    T value;
    std::int32_t column;
    std::int32_t rank; // 2 a number, 1 a NaN, 0 out
};

struct gate_better {
    template <class T> ESPALIER_FN static bool first(gate_candidate<T> const& a, gate_candidate<T> const& b) {
        if (a.rank != b.rank) return a.rank > b.rank;
        if (a.value > b.value) return true;
        if (a.value < b.value) return false;
        return a.column < b.column;
    }
    template <class T>
    ESPALIER_FN gate_candidate<T> operator()(gate_candidate<T> const& a, gate_candidate<T> const& b) const {
        return first(a, b) ? a : b;
    }
};

} // namespace detail

/// The K largest logits, as pairs in falling order, with softmax weights. Ties go to the lower expert. A NaN is smaller
/// than every number and has weight 0; so have the winners of a row without a number above minus infinity.
/// K butterflies over the lanes: meant for K <= 8.
template <int E, int K, gate_normaliser Over = gate_normaliser::winners> struct top_k_gate_op {
    static_assert(K >= 1 && K <= E, "espalier: a top-k gate chooses between 1 and all of its experts");
    static constexpr int experts = E;
    static constexpr int most_pairs = K;

    template <class Group, class T>
    ESPALIER_FN void forward(Group const& group, row<Group, T, E> const& logits, gate_pairs<T, K>& pairs) const {
        using candidate = detail::gate_candidate<T>;
        constexpr int local = row<Group, T, E>::local;
        bool out[local] = {};
        T value[K];
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k) {
            candidate best{T(0), E, 0};
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < local; ++i) {
                T const x = logits.v[i];
                int const c = row_column<E>(group, i);
                candidate const next{x == x ? x : T(0), c, out[i] || c >= E ? 0 : x == x ? 2 : 1};
                best = detail::gate_better{}(best, next);
            }
            best = group.reduce(best, detail::gate_better{});
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < local; ++i)
                out[i] = out[i] || row_column<E>(group, i) == best.column;
            pairs.expert[k] = best.column;
            value[k] = best.rank == 2 ? best.value : T(-__builtin_inf());
        }
        T const top = value[0];
        bool const any = top > T(-__builtin_inf());
        T total(0);
        if constexpr (Over == gate_normaliser::winners) {
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < K; ++k)
                total += any ? exp(value[k] - top) : T(0);
        } else {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < local; ++i) {
                T const x = logits.v[i];
                bool const in = row_column<E>(group, i) < E && x == x && any;
                total += in ? exp(x - top) : T(0);
            }
            total = group.reduce_add(total);
        }
        T const share = any ? T(1) / total : T(0);
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            pairs.weight[k] = any ? exp(value[k] - top) * share : T(0);
    }

    /// dlogit_c = w_c (dw_c - sum_k w_k dw_k) for winners; over all, the others get -p_c sum_k w_k dw_k.
    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, row<Group, T, E> const& logits, gate_pairs<T, K> const& pairs,
                              T const (&dweight)[K], row<Group, T, E>& dlogits) const {
        constexpr int local = row<Group, T, E>::local;
        T mean(0);
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            mean += pairs.weight[k] * dweight[k];
        [[maybe_unused]] T top(0), share(0);
        if constexpr (Over == gate_normaliser::all) {
            // p_c from the logits again, with the top winner's weight as the scale: p_c = w_0 exp(x_c - x_0).
            T best(-__builtin_inf());
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < local; ++i)
                if (row_column<E>(group, i) < E && logits.v[i] > best) best = logits.v[i];
            top = group.reduce_max(best);
            share = pairs.weight[0];
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < local; ++i) {
            int const c = row_column<E>(group, i);
            T d(0);
            if constexpr (Over == gate_normaliser::all) {
                T const x = logits.v[i];
                if (c < E && x == x && share > T(0)) d = -share * exp(x - top) * mean;
            }
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < K; ++k)
                if (pairs.expert[k] == c) d = pairs.weight[k] * (dweight[k] - mean);
            dlogits.v[i] = d;
        }
    }
};

/// Pairs of all rows: expert[r K + k], weight[r K + k]. Floor: rows (E b + K (4 + W)) bytes; a row is read once and
/// held in registers, every index into it is known when compiling.
template <class Block, class Gate, class T>
ESPALIER_FN void row_gate_forward(Block const& block, Gate const& gate, matrix_view<T const> logits,
                                  std::int32_t* expert, master_of<T>* weight) {
    constexpr int experts = Gate::experts, most = Gate::most_pairs;
    auto const group = row_group<experts>(block);
    using group_type = row_group_of<experts, Block>;
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, master_of<T>, experts> x;
        load_row(group, logits.row(r), x);
        gate_pairs<master_of<T>, most> pairs;
        gate.forward(group, x, pairs);
        // Lane k writes pair k; the choice of the pair is by comparison, not by an index at run time.
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < most; ++k)
            if (static_cast<int>(group.thread_rank()) == k % static_cast<int>(group_type::lanes)) {
                expert[r * most + k] = pairs.expert[k];
                weight[r * most + k] = pairs.weight[k];
            }
    }
}

/// dlogits from the gradients of the weights. Floor: rows (2 E b + K (4 + 2 W)) bytes.
template <class Block, class Gate, class T>
ESPALIER_FN void row_gate_backward(Block const& block, Gate const& gate, matrix_view<T const> logits,
                                   std::int32_t const* expert, master_of<T> const* weight, master_of<T> const* dweight,
                                   matrix_view<T> dlogits) {
    constexpr int experts = Gate::experts, most = Gate::most_pairs;
    using W = master_of<T>;
    auto const group = row_group<experts>(block);
    using group_type = row_group_of<experts, Block>;
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, W, experts> x, dx;
        load_row(group, logits.row(r), x);
        gate_pairs<W, most> pairs;
        W dw[most];
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < most; ++k) {
            pairs.expert[k] = expert[r * most + k];
            pairs.weight[k] = weight[r * most + k];
            dw[k] = dweight[r * most + k];
        }
        gate.backward(group, x, pairs, dw, dx);
        store_row(group, dx, dlogits.row(r));
    }
}

} // namespace espalier::kernels
