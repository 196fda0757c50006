// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>

#include <string_view>

namespace espalier::gate {

/// Row functions of `expert_choice`: what precedes the choice, and the way back through what was kept of it.
template <int Experts> struct expert_choice_op {
    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, row<Group, T, Experts> const& z, row<Group, T, Experts>& weights) const {
        weights = z;
        row_softmax(group, weights);
        return T(scalar_of<T>(0));
    }
    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, row<Group, T, Experts> const& z,
                              row<Group, T, Experts> const& weights, row<Group, T, Experts> const& dweights, T const&,
                              row<Group, T, Experts>& dz) const {
        T const zero(scalar_of<T>(0));
        row<Group, T, Experts> p = z, d; // the weights given are those that were kept
        row_softmax(group, p);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i)
            d.v[i] = select(weights.v[i] == zero, zero, dweights.v[i]);
        T const mean = row_dot(group, p, d);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i)
            dz.v[i] = p.v[i] * (d.v[i] - mean);
    }
};

/// Experts choose rows: with p = softmax over the experts of x W + b, every expert keeps the C = ceil(Factor rows /
/// experts) rows of a batch with the largest p in its column, at most all of them, and g_re = p_re for the rows it
/// keeps, 0 elsewhere (Zhou et al. 2022, "Mixture-of-experts with expert choice routing", section 3). Loads are equal
/// by construction; a row may have any number of experts, none among them: give it a residual connection. Equal values:
/// the lower row. The choice has no gradient: dz_e = p_e (dg_e - sum_k p_k dg_k), dg being 0 where a row was not kept.
///
/// What a row gets depends on the others of its batch, in evaluation too. Cost beside the softmax: a selection for each
/// column, O(rows experts).
template <int Experts, double Factor = 2.0> struct expert_choice {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    static_assert(diagnostic::holds<(Factor > 0.0 && Factor < 1e6), diagnostic::given<Factor>>,
                  "espalier: the factor of gate::expert_choice must be above 0: it is the mean number of experts of a "
                  "row; the next line names the one given");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "expert_choice";
    static constexpr int experts = Experts;
    static constexpr int slots = Experts;
    static constexpr int logits = Experts;
    static constexpr bool slot_is_expert = true;
    static constexpr bool sums_to_one = false;
    static constexpr double factor = Factor;
    static constexpr auto numbers = fields<&expert_choice::factor>;

    /// C. Factor is the decimal number it was written as (core/exact_count.hpp).
    static constexpr index_t rows_of_expert(index_t rows) {
        index_t const up = ceil_of_product(Factor, rows, Experts);
        return up < rows ? up : rows;
    }

    using op = expert_choice_op<Experts>;
};

} // namespace espalier::gate
