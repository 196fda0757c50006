// SPDX-License-Identifier: Apache-2.0
// A batch routed by a gate with a search: the scorer's weights over all experts, w, go to the experts of the
// permutation, g = w P, and are divided by their sum where the scorer's add up to one.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/mixture/scored_routing.hpp>

#include <cstdint>

namespace espalier::detail {

template <class Router, class Context, class T> struct searched_routing {
    using W = master_of<T>;

    Context& context;
    typename Router::numbers const& n;
    layer_memory<T> const& m;
    rows const& batch;
    matrix_view<T const> x;

    void forward(matrix_view<W> weights, matrix_view<std::int32_t> chosen) const {
        by_score().forward(scored(), scored_experts());
        if constexpr (!scorer::slot_is_expert)
            context.device.spread_slots(matrix_view<W const>(scored()),
                                        matrix_view<std::int32_t const>(scored_experts()), spread());
        if (soft())
            for (int j = 0; j < parts; ++j) {
                random_site site = context.site(Router::search_memory(m).stream, purpose::gate);
                site.pass += static_cast<std::uint32_t>(j); // the number of the draw
                watch_layer(context, Router::search_memory(m).stream);
                double* const terms = Router::gate_terms(m);
                context.device.soft_permutation(
                    n.gate, experts, static_cast<W const*>(Router::search_memory(m).parameters) + j * squared, site,
                    m.tape_block(tape.noisy) + j * squared, m.tape_block(tape.potentials) + j * scratch,
                    m.tape_block(tape.soft) + j * squared, m.tape_block(tape.permutation) + j * squared,
                    terms ? terms + (Router::scorer_has_term ? 1 : 0) + j : nullptr);
            }
        context.device.template product_forward<void>(matrix_view<W const>(spread()), permutation(),
                                                      static_cast<W const*>(nullptr), weights);
        if constexpr (gate_sums_to_one<scorer>()) context.device.divide_by_sums(weights, m.tape_block(tape.sums));
        if (chosen.data) context.device.number_slots(chosen);
    }

    template <differentiate Want>
    void backward(matrix_view<W const> weights, matrix_view<W const> dweights, matrix_view<T> dx) const {
        matrix_view<W> const dpermuted{m.work_block(work.dpermuted), x.rows, experts, experts};
        matrix_view<W> const dspread{m.work_block(work.dspread), x.rows, wide, wide};
        if constexpr (gate_sums_to_one<scorer>())
            context.device.divide_by_sums_backward(weights, dweights, m.tape_block(tape.sums), dpermuted);
        else
            context.device.copy(dweights, dpermuted);
        context.device.template product_input_gradient<void>(matrix_view<W const>(dpermuted), permutation(), dspread);
        if constexpr (Want.parameters) {
            W* const dscores = Router::search_memory(m).gradients;
            if (soft()) {
                matrix_view<W> const dpermutation{m.work_block(work.dpermutation), wide, experts, experts};
                context.device.template product_weight_gradient<void>(matrix_view<W const>(spread()),
                                                                      matrix_view<W const>(dpermuted), dpermutation);
                for (int j = 0; j < parts; ++j)
                    context.device.soft_permutation_backward(n.gate, experts, m.tape_block(tape.noisy) + j * squared,
                                                             m.tape_block(tape.potentials) + j * scratch,
                                                             m.tape_block(tape.soft) + j * squared,
                                                             static_cast<W const*>(dpermutation.data) + j * squared,
                                                             m.work_block(work.dsoft), dscores + j * squared);
            } else {
                context.device.zero(dscores, Router::permutations);
            }
        }
        matrix_view<W> dscored = dspread;
        if constexpr (!scorer::slot_is_expert) {
            dscored = {m.work_block(work.dscored), x.rows, scorer::slots, scorer::slots};
            context.device.gather_slots(matrix_view<W const>(dspread), matrix_view<W const>(scored()),
                                        matrix_view<std::int32_t const>(scored_experts()), dscored);
        }
        by_score().template backward<Want>(scored(), scored_experts(), dscored, dx);
    }

    /// Frozen scores are not searched with.
    static bool learns(typename Router::numbers const& n, layer_memory<T> const& m) {
        return n.gate.learns && !Router::search_memory(m).frozen(1);
    }
    /// The permutation that was found becomes the one nearest to what a batch left.
    static void round(Context& context, layer_memory<T> const& m, tape_copies const& copies) {
        double* const soft = m.tape_block(tape.soft);
        // Of several samples of a batch the mean counts; the permutation nearest to their sum is the same.
        for (int k = 1; k < copies.count; ++k)
            context.device.add(contiguous_view<double const>(copies.of(soft, k), 1, Router::permutations),
                               contiguous_view(soft, 1, Router::permutations));
        for (int j = 0; j < parts; ++j)
            context.device.round_permutation(experts, soft + j * squared, m.tape_block(tape.potentials),
                                             found(m).data + j * squared);
    }
    /// At first every expert is where it is.
    static void initialise(Context& context, layer_memory<T> const& m) {
        context.device.initialise(
            [](matrix_view<W> w, random_site const&) {
                for (index_t r = 0; r < w.rows; ++r)
                    for (index_t c = 0; c < w.columns; ++c)
                        w(r, c) = r % experts == c ? W(1) : W(0);
            },
            found(m), random_site{});
    }

private:
    using scorer = typename Router::scorer;
    static constexpr int parts = Router::parts;
    static constexpr int experts = Router::experts;
    static constexpr index_t wide = Router::wide;
    static constexpr index_t squared = Router::squared;
    static constexpr index_t scratch = Router::scratch_of_search;
    static constexpr auto const& tape = Router::template tape<T>;
    static constexpr auto const& work = Router::template work_at<T>;

    scored_routing<Router, Context, T> by_score() const { return {context, n.gate.scorer, m, batch, x}; }
    matrix_view<W> spread() const { return {m.tape_block(tape.spread), x.rows, wide, wide}; }
    matrix_view<W> scored() const {
        if constexpr (scorer::slot_is_expert)
            return spread();
        else
            return {m.tape_block(tape.scored), x.rows, scorer::slots, scorer::slots};
    }
    matrix_view<std::int32_t> scored_experts() const {
        if constexpr (scorer::slot_is_expert)
            return {};
        else
            return {m.tape_block(tape.scored_experts), x.rows, scorer::slots, scorer::slots};
    }
    /// While a step of training learns the permutation it is soft; otherwise it is the one that was found.
    bool soft() const {
        if constexpr (Context::behaviour == mode::train)
            return learns(n, m);
        else
            return false;
    }
    static matrix_view<W> found(layer_memory<T> const& m) {
        return {m.state + Router::permutation_at, wide, experts, experts};
    }
    matrix_view<W const> permutation() const {
        if (soft()) return {m.tape_block(tape.permutation), wide, experts, experts};
        return found(m);
    }
};

} // namespace espalier::detail
