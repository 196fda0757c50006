// SPDX-License-Identifier: Apache-2.0
// COMET: a differentiable sparse gate of soft decision trees.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/initial.hpp>
#include <espalier/gate/smooth_step.hpp>
#include <espalier/gate/soft_tree.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <cstddef>
#include <string_view>

namespace espalier::gate {

/// Numbers and row function of `comet`. `Apart`: the trees' weights stay side by side, [Trees][Experts], instead of
/// being added up: a search may then move the experts of each tree on its own.
template <int Experts, int Trees, bool Apart = false> struct comet_op {
    double width;   ///< of the smooth-step
    double entropy; ///< coefficient of the trees' entropy
    static constexpr auto numbers = fields<&comet_op::width, &comet_op::entropy>;

    using tree = soft_tree<Experts>;
    static constexpr int logits_of_tree = tree::splits + Experts;
    static constexpr int logits = Trees * logits_of_tree;
    static constexpr int slots = Apart ? Trees * Experts : Experts;
    static constexpr bool has_term = true;
    /// One tree: its logits, the probabilities of its nodes, the derivatives by them.
    static constexpr int row_space = 3 * logits_of_tree;
    static constexpr double leaf_floor = 1e-8;    ///< added to a leaf's probability under the logarithm
    static constexpr double entropy_floor = 1e-6; ///< the same in the entropy

    /// The same op with its weights side by side.
    using apart = comet_op<Experts, Trees, true>;
    apart taken_apart() const { return apart{width, entropy}; }

    template <class Group, class T, class About>
    ESPALIER_FN T route(Group const& group, row<Group, T, logits> const& z, row<Group, T, slots>& weights,
                        About const& about) const {
        using S = scalar_of<T>;
        T* const space = about.space;
        leaves<Group, T> all;
        T share = walk(group, z, space, all);
        T total(S(0));
        if constexpr (!Apart) {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < weights.local; ++i)
                weights.v[i] = T(S(0));
        }
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < all.local; ++i) {
                T const w = unscaled(all.p[j][i], exp(all.score[j][i] - all.top));
                total += all.inside(group, i, w);
                if constexpr (Apart)
                    all.put(group, i, space, w);
                else
                    weights.v[i] += w;
            }
            if constexpr (Apart) {
                group.sync();
                read_columns(group, j * Experts, Experts, space, weights);
                group.sync();
            }
        }
        total = group.reduce_add(total);
        // Not by its reciprocal: the weight of a leaf that is the only one is 1, and nothing of the difference from it,
        // which backward divides by the leaf's probability, is rounding.
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < weights.local; ++i)
            weights.v[i] = weights.v[i] / total;
        return group.reduce_add(share) * T(static_cast<S>(entropy));
    }

    template <class Group, class T, class About>
    ESPALIER_FN void backward(Group const& group, row<Group, T, logits> const& z, row<Group, T, slots> const& weights,
                              row<Group, T, slots> const& dweights, T const& term_scale, row<Group, T, logits>& dz,
                              About const& about) const {
        using S = scalar_of<T>;
        T* const space = about.space;
        T const zero(S(0));
        T *const tree_logits = space, *const node = space + logits_of_tree, *const below = node + logits_of_tree;
        leaves<Group, T> all;
        walk(group, z, space, all);
        T total = zero;
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j)
            ESPALIER_ROW_UNROLL
        for (int i = 0; i < all.local; ++i) {
            T const e = exp(all.score[j][i] - all.top);
            total += all.inside(group, i, unscaled(all.p[j][i], e));
        }
        T const scale = T(S(1)) / group.reduce_add(total), coefficient = T(static_cast<S>(entropy)) * term_scale;
        T const mean = row_dot(group, weights, dweights);
        smooth_step<T> const step(width);
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            [[maybe_unused]] row<Group, T, Experts> gradient;
            if constexpr (Apart) {
                write_columns(group, dweights, j * Experts, Experts, space);
                group.sync();
                ESPALIER_ROW_UNROLL
                for (int i = 0; i < all.local; ++i)
                    gradient.v[i] = all.get(group, i, space);
                group.sync();
            }
            grow(group, z, j, space);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < all.local; ++i) {
                T const p = all.p[j][i], e = exp(all.score[j][i] - all.top) * scale;
                T d;
                if constexpr (Apart)
                    d = gradient.v[i] - mean;
                else
                    d = dweights.v[i] - mean;
                T const floored = p + T(S(entropy_floor));
                all.put(group, i, tree_logits + tree::splits, unscaled(p, e) * d);
                all.put_leaf(group, i, below,
                             select(p <= zero, zero, e * d) - coefficient * (log(floored) + p / floored));
            }
            tree::backward(group, tree_logits, node, below);
            read_columns(group, j * logits_of_tree, logits_of_tree, tree_logits, dz,
                         [&](int c, int i, T const& d) { return c < tree::splits ? d * step.slope(z.v[i]) : d; });
            group.sync();
        }
    }

private:
    /// What a lane keeps of its leaves, l = i * lanes + thread_rank: in every tree.
    template <class Group, class T> struct leaves : row_part<Group, Experts> {
        using row_part<Group, Experts>::exists, row_part<Group, Experts>::number, row_part<Group, Experts>::local;
        T p[std::size_t{Trees}][std::size_t{local}];
        T score[std::size_t{Trees}][std::size_t{local}];
        T top; ///< largest score of a leaf that is not closed: what exponentials are taken relative to

        static ESPALIER_FN T inside(Group const& group, int i, T const& x) {
            return exists(group, i) ? x : T(scalar_of<T>(0));
        }
        static ESPALIER_FN void put(Group const& group, int i, T* to, T const& x) {
            if (exists(group, i)) to[number(group, i)] = x;
        }
        static ESPALIER_FN void put_leaf(Group const& group, int i, T* to, T const& x) {
            if (exists(group, i)) to[tree::leaf(number(group, i))] = x;
        }
        static ESPALIER_FN T get(Group const& group, int i, T const* from) {
            return exists(group, i) ? from[number(group, i)] : T(scalar_of<T>(0));
        }
    };

    /// Leaves in `space` the splits, smoothed, and the scores of tree j, and the probabilities of its nodes.
    template <class Group, class T>
    ESPALIER_FN void grow(Group const& group, row<Group, T, logits> const& z, int j, T* space) const {
        smooth_step<T> const step(width);
        write_columns(group, z, j * logits_of_tree, logits_of_tree, space,
                      [&](int c, T const& x) { return c < tree::splits ? step.value(x) : x; });
        tree::reach(group, space, space + logits_of_tree);
    }
    /// Probability and score of every leaf; returns this lane's part of the entropies.
    template <class Group, class T>
    ESPALIER_FN T walk(Group const& group, row<Group, T, logits> const& z, T* space, leaves<Group, T>& all) const {
        using S = scalar_of<T>;
        T top(static_cast<S>(-__builtin_inf())), share(S(0));
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            grow(group, z, j, space);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < all.local; ++i) {
                T const a = all.get(group, i, space + tree::splits);
                T const p = all.exists(group, i) ? space[logits_of_tree + tree::leaf(all.number(group, i))] : T(S(0));
                all.p[j][i] = p;
                all.score[j][i] = a;
                share -= p * log(p + T(S(entropy_floor)));
                top = select((p > T(S(0))) & (a > top), a, top);
            }
            group.sync();
        }
        all.top = group.reduce_max(top);
        return share;
    }
    /// (p + floor) e, exactly 0 for a leaf that is closed. A NaN is not closed.
    template <class T> static ESPALIER_FN T unscaled(T p, T e) {
        using S = scalar_of<T>;
        return select(p <= T(S(0)), T(S(0)), (p + T(S(leaf_floor))) * e);
    }
};

/// Trees soft decision trees over the experts, one leaf an expert (Ibrahim et al. 2023, "COMET: Learning cardinality
/// constrained mixture of experts with trees and local search", section 3). With z, a the logits of tree j's splits and
/// leaves, S the cubic smooth-step of width Width and eps = 1e-8:
///     s_jq = S(z_jq)
///     p_jl = product over the splits q above leaf l of s_jq (left) or 1 - s_jq (right)
///     w    = softmax over all (j, l) with p_jl > 0 of a_jl + log(p_jl + eps)
///     g_l  = sum_j w_jl
/// Splits saturate, so leaves close: g is exactly 0 there and the expert need not run. The term, a mean over rows, is
/// Entropy * sum_jl -p_jl log(p_jl + 1e-6); it drives every tree to one leaf and a row to at most Trees experts. A
/// larger number of rows per unit of z needs a larger Width: splits that start saturated never move.
///
/// Logits: Trees x (Experts - 1 splits, then Experts leaves), one product. Entropy: a number or a schedule, at least 0.
/// Unless told otherwise splits start in +-Width / 100, leaves in +-0.05, kernel and bias alike (the authors' code).
/// Costs O(Trees Experts) a row. A NaN in the logits makes the row's weights NaN.
template <int Experts, int Trees, schedule::number_or_schedule auto Entropy = 0.1, double Width = 1.0> struct comet {
    static_assert(
        diagnostic::holds<(Experts >= 2), diagnostic::given<Experts>>,
        "espalier: gate::comet<experts, trees> needs at least 2 experts; the next line names the number given");
    static_assert(
        diagnostic::holds<(Trees >= 1 && Trees <= Experts), diagnostic::given<Trees>, diagnostic::needed<Experts>>,
        "espalier: gate::comet<experts, trees> needs 1 <= trees <= experts; the next lines name the trees "
        "given and the number of experts; choose fewer trees or more experts");
    static_assert(
        diagnostic::holds<schedule::stays_within(Entropy, schedule::not_negative), diagnostic::given<Entropy>>,
        "espalier: the entropy coefficient of gate::comet must be finite and not negative");
    static_assert(diagnostic::holds<(Width > 0.0 && schedule::finite(Width)), diagnostic::given<Width>>,
                  "espalier: the width of gate::comet must be finite and above 0");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "comet";
    static constexpr int trees = Trees;
    static constexpr auto numbers = fields<&comet::trees>;
    static constexpr int experts = Experts;
    static constexpr int slots = Experts;
    static constexpr int logits = comet_op<Experts, Trees>::logits;
    static constexpr bool slot_is_expert = true;

    using op = comet_op<Experts, Trees>;
    static op at(clock const& now) {
        return op{Width, schedule::value_within(Entropy, now, schedule::not_negative, "gate", name, "entropy")};
    }

    /// Bound of the first values of column c.
    static constexpr double first_values(int c) {
        return c % op::logits_of_tree < op::tree::splits ? Width / 100.0 : 0.05;
    }
    using initial = uniform_by_column<comet>;
};

} // namespace espalier::gate
