// SPDX-License-Identifier: Apache-2.0
// COMET: a differentiable sparse gate of soft decision trees.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/initial.hpp>
#include <espalier/gate/smooth_step.hpp>
#include <espalier/gate/soft_tree.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Numbers and row function of `comet`. `Apart`: the trees' weights stay side by side, [Trees][Experts], instead of
/// being added up: a search may then move the experts of each tree on its own.
template <int Experts, int Trees, bool Apart = false> struct comet_op {
    double width;   ///< of the smooth-step
    double entropy; ///< coefficient of the trees' entropy

    using tree = soft_tree<Experts>;
    static constexpr int logits_of_tree = tree::splits + Experts;
    static constexpr int logits = Trees * logits_of_tree;
    static constexpr int slots = Apart ? Trees * Experts : Experts;
    static constexpr bool whole_row = true;
    static constexpr bool has_term = true;
    static constexpr double leaf_floor = 1e-8;    ///< added to a leaf's probability under the logarithm
    static constexpr double entropy_floor = 1e-6; ///< the same in the entropy

    /// The same op with its weights side by side.
    using apart = comet_op<Experts, Trees, true>;
    apart taken_apart() const { return apart{width, entropy}; }

    template <class Group, class T>
    ESPALIER_FN T route(Group const&, row<Group, T, logits> const& z, row<Group, T, slots>& weights) const {
        static_assert(row<Group, T, logits>::lanes == 1, "espalier: a COMET row is worked on by one lane");
        using S = scalar_of<T>;
        T p[Trees][Experts], share(S(0));
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            T s[tree::splits], node[tree::nodes];
            split(z, j, s);
            tree::reach(s, node);
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < Experts; ++l) {
                p[j][l] = node[tree::leaf(l)];
                share -= p[j][l] * log(p[j][l] + T(S(entropy_floor)));
            }
        }
        T const top = largest_live(z, p);
        T total(S(0));
        ESPALIER_ROW_UNROLL
        for (int l = 0; l < slots; ++l)
            weights.v[l] = T(S(0));
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j)
            ESPALIER_ROW_UNROLL
        for (int l = 0; l < Experts; ++l) {
            T const w = unscaled(p[j][l], exp(score(z, j, l) - top));
            weights.v[slot(j, l)] += w;
            total += w;
        }
        T const scale = T(S(1)) / total;
        ESPALIER_ROW_UNROLL
        for (int l = 0; l < slots; ++l)
            weights.v[l] *= scale;
        return share * T(static_cast<S>(entropy));
    }

    template <class Group, class T>
    ESPALIER_FN void backward(Group const&, row<Group, T, logits> const& z, row<Group, T, slots> const& weights,
                              row<Group, T, slots> const& dweights, T const& term_scale,
                              row<Group, T, logits>& dz) const {
        using S = scalar_of<T>;
        T const zero(S(0));
        T p[Trees][Experts];
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            T s[tree::splits], node[tree::nodes];
            split(z, j, s);
            tree::reach(s, node);
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < Experts; ++l)
                p[j][l] = node[tree::leaf(l)];
        }
        T const top = largest_live(z, p);
        T total(S(0)), mean(S(0));
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j)
            ESPALIER_ROW_UNROLL
        for (int l = 0; l < Experts; ++l)
            total += unscaled(p[j][l], exp(score(z, j, l) - top));
        ESPALIER_ROW_UNROLL
        for (int l = 0; l < slots; ++l)
            mean = fma(weights.v[l], dweights.v[l], mean);
        T const scale = T(S(1)) / total, coefficient = T(static_cast<S>(entropy)) * term_scale;
        smooth_step<T> const step(width);
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j) {
            T s[tree::splits], node[tree::nodes], below[tree::nodes], ds[tree::splits];
            split(z, j, s);
            tree::reach(s, node);
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < Experts; ++l) {
                T const e = exp(score(z, j, l) - top) * scale, d = dweights.v[slot(j, l)] - mean;
                T const floored = p[j][l] + T(S(entropy_floor));
                dz.v[j * logits_of_tree + tree::splits + l] = unscaled(p[j][l], e) * d;
                below[tree::leaf(l)] =
                    select(p[j][l] <= zero, zero, e * d) - coefficient * (log(floored) + p[j][l] / floored);
            }
            tree::backward(s, node, below, ds);
            ESPALIER_ROW_UNROLL
            for (int q = 0; q < tree::splits; ++q)
                dz.v[j * logits_of_tree + q] = ds[q] * step.slope(z.v[j * logits_of_tree + q]);
        }
    }

private:
    static constexpr ESPALIER_FN int slot(int j, int l) { return Apart ? j * Experts + l : l; }
    template <class Group, class T> static ESPALIER_FN T score(row<Group, T, logits> const& z, int j, int l) {
        return z.v[j * logits_of_tree + tree::splits + l];
    }
    template <class Group, class T>
    ESPALIER_FN void split(row<Group, T, logits> const& z, int j, T (&s)[tree::splits]) const {
        smooth_step<T> const step(width);
        ESPALIER_ROW_UNROLL
        for (int q = 0; q < tree::splits; ++q)
            s[q] = step.value(z.v[j * logits_of_tree + q]);
    }
    /// (p + floor) e, exactly 0 for a leaf that is closed. A NaN is not closed.
    template <class T> static ESPALIER_FN T unscaled(T p, T e) {
        using S = scalar_of<T>;
        return select(p <= T(S(0)), T(S(0)), (p + T(S(leaf_floor))) * e);
    }
    /// The largest score of a leaf that is not closed: what exponentials are taken relative to.
    template <class Group, class T>
    static ESPALIER_FN T largest_live(row<Group, T, logits> const& z, T const (&p)[Trees][Experts]) {
        using S = scalar_of<T>;
        T top(static_cast<S>(-__builtin_inf()));
        ESPALIER_ROW_UNROLL
        for (int j = 0; j < Trees; ++j)
            ESPALIER_ROW_UNROLL
        for (int l = 0; l < Experts; ++l) {
            T const a = score(z, j, l);
            top = select((p[j][l] > T(S(0))) & (a > top), a, top);
        }
        return top;
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
