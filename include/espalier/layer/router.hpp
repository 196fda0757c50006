// SPDX-License-Identifier: Apache-2.0
// One gate of a mixture: its tensors, its routing of a batch, and the way back.
#pragma once

#include <espalier/gate/concept.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace espalier::detail {

/// Stands in for a tensor that a gate does not have.
struct no_tensor {
    struct rule {};
    static constexpr need needs = need::none;
    static constexpr rule at(clock const&) { return {}; }
    static constexpr footprint size() { return {}; }
    template <class... Arguments> static void update(Arguments&&...) {}
    template <class... Arguments> static void initialise(Arguments&&...) {}
    template <class... Arguments> static void describe(Arguments&&...) {}
};

/// First values of a gate's own kernel and bias unless the layer has an initialiser.
template <class Gate> consteval auto gate_initial() {
    if constexpr (requires { typename Gate::initial; })
        return type_list<typename Gate::initial, typename Gate::initial>{};
    else
        return type_list<initial::xavier_uniform, initial::zeros>{};
}
template <class Gate, std::size_t At, class Initials = decltype(gate_initial<Gate>())> struct gate_initial_at;
template <class Gate, std::size_t At, class Kernel, class Bias>
struct gate_initial_at<Gate, At, type_list<Kernel, Bias>> {
    using type = std::conditional_t<At == 0, Kernel, Bias>;
};

/// Lays blocks one behind the other.
struct block_list {
    extent end{};
    constexpr extent add(extent size) {
        extent const at = end;
        end = end + size;
        return at;
    }
};

/// A gate bound to the width of its input. It leaves the weights and experts of a batch where its owner wants them.
template <shape In, class Gate, class... Ps> struct bound_router {
    static constexpr index_t in = In.size();
    static constexpr int experts = Gate::experts;
    static constexpr int slots = Gate::slots;
    static constexpr bool slot_is_expert = Gate::slot_is_expert;
    /// What routes before a search moves the experts about; the gate itself without one.
    using scorer = gate_scorer<Gate>;
    static constexpr bool keyed = scorer::logits == 0;
    static constexpr bool reads_input = !keyed && gate_reads_input<scorer>();
    static constexpr bool searches = gate_searches<Gate>();
    /// Permutations of a search, one below the other: [parts experts][experts]. The scorer's weights are as wide.
    static constexpr int parts = searches && scorer::slot_is_expert ? scorer::slots / experts : 1;
    static constexpr index_t wide = index_t{parts} * experts;
    static constexpr index_t squared = index_t{experts} * experts;
    static constexpr bool chooses_rows = gate_chooses_rows<scorer>();
    /// Whether every row goes to every expert, by the gate's nature.
    static constexpr bool fills_all = [] {
        if constexpr (requires { Gate::fills_all; })
            return bool{Gate::fills_all};
        else
            return false;
    }();
    static constexpr index_t keys = gate_keys<scorer>();
    using scorer_op = op_of<scorer>;
    static constexpr gate_needs needs = gate_needs_of<scorer_op>();
    static constexpr bool scorer_has_term = gate_has_term<scorer_op>();
    static constexpr int terms = (scorer_has_term ? 1 : 0) + (searches ? parts : 0);
    static constexpr index_t width = keyed ? 1 : scorer::logits;

    template <class Initial>
    using kernel_part = tensor_part<role::gate, in, width, pick<axis::initial, Initial, Ps...>, Ps...>;
    template <class Initial> using bias_part = tensor_part<role::bias, 1, width, Initial, Ps...>;
    using kernel = std::conditional_t<reads_input, kernel_part<typename gate_initial_at<scorer, 0>::type>, no_tensor>;
    using bias = std::conditional_t<!keyed, bias_part<typename gate_initial_at<scorer, 1>::type>, no_tensor>;
    using search =
        std::conditional_t<searches, tensor_part<role::score, wide, experts, initial::uniform<-0.05, 0.05>, Ps...>,
                           no_tensor>;
    static constexpr need layer_needs = kernel::needs | bias::needs | search::needs | (keyed ? need::tags : need::none);
    static constexpr footprint tensors() { return kernel::size() + bias::size() + search::size(); }

    struct numbers {
        op_of<Gate> gate;
        typename kernel::rule kernel_rule;
        typename bias::rule bias_rule;
        typename search::rule search_rule;
    };
    static numbers at(clock const& now) { return {op_at<Gate>(now), kernel::at(now), bias::at(now), search::at(now)}; }

    // Tape: the logits and what the auxiliary terms keep of the batch; with a search the scorer's own weights, and the
    // permutation and what its reverse needs.
    template <class T> struct places {
        extent logits{};
        extent slopes{};
        extent scored{};
        extent scored_experts{};
        extent spread{};
        extent sums{};
        extent permutation{};
        extent soft{};
        extent noisy{};
        extent potentials{};
        extent total{};
    };
    template <class T> static constexpr places<T> layout() {
        using W = master_of<T>;
        places<T> p;
        block_list blocks;
        if (!keyed) p.logits = blocks.add(row_block<T>(width));
        if (needs.statistics > 0) p.slopes = blocks.add(fixed_block<double>(2 * needs.statistics * experts));
        if constexpr (searches) {
            if (!scorer::slot_is_expert) {
                p.scored = blocks.add(row_block<W>(scorer::slots));
                p.scored_experts = blocks.add(row_block<std::int32_t>(scorer::slots));
            }
            p.spread = blocks.add(row_block<W>(wide));
            p.sums = blocks.add(row_block<W>(1));
            p.permutation = blocks.add(fixed_block<W>(parts * squared));
            p.soft = blocks.add(fixed_block<double>(parts * squared));
            p.noisy = blocks.add(fixed_block<double>(parts * squared));
            p.potentials = blocks.add(fixed_block<double>(parts * Gate::scratch));
        }
        p.total = blocks.end;
        return p;
    }

    template <class T> struct work_places {
        extent dlogits{};
        extent order{};
        extent dpermuted{};
        extent dspread{};
        extent dscored{};
        extent dpermutation{};
        extent dsoft{};
        extent total{};
    };
    template <class T> static constexpr work_places<T> work_layout() {
        using W = master_of<T>;
        work_places<T> p;
        block_list blocks;
        if (!keyed) p.dlogits = blocks.add(row_block<T>(width));
        if (chooses_rows) p.order = blocks.add(row_block<W>(1));
        if constexpr (searches) {
            p.dpermuted = blocks.add(row_block<W>(experts));
            p.dspread = blocks.add(row_block<W>(wide));
            if (!scorer::slot_is_expert) p.dscored = blocks.add(row_block<W>(scorer::slots));
            p.dpermutation = blocks.add(fixed_block<W>(parts * squared));
            p.dsoft = blocks.add(fixed_block<double>(squared));
        }
        p.total = blocks.end;
        return p;
    }

    // State: the table of a keyed gate, then the permutation that a search found.
    static constexpr index_t permutation_at = padded(keys);
    template <class T> static constexpr footprint size() {
        footprint f = tensors();
        f.tape = layout<T>().total;
        f.terms += terms;
        f.streams += keyed ? 1 : 0; // of the table, which is no trained tensor
        f.learned_state = searches ? padded(parts * squared) : 0;
        f.state = padded(keys) + f.learned_state;
        return f;
    }
    template <class T> static constexpr extent work() { return work_layout<T>().total; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = reads_input ? Device::template product_scratch<T, void>(capacity, in, width) : 0;
        if constexpr (!keyed && !Device::host_memory) {
            std::size_t const own = Device::template gate_scratch<T>(capacity, width, needs.statistics * experts);
            most = own > most ? own : most;
        }
        if constexpr (searches) {
            std::size_t const own = Device::template product_scratch<master_of<T>, void>(capacity, wide, experts);
            most = own > most ? own : most;
        }
        return most;
    }

    template <class T> static layer_memory<T> bias_memory(layer_memory<T> const& m) {
        return m.child(kernel::size(), {});
    }
    template <class T> static layer_memory<T> search_memory(layer_memory<T> const& m) {
        return m.child(kernel::size() + bias::size(), {});
    }
    template <class T> static double* gate_terms(layer_memory<T> const& m) {
        return m.terms && terms > 0 ? m.terms + tensors().terms : nullptr;
    }
    template <class T> static matrix_view<T> logits_of(layer_memory<T> const& m, index_t n) {
        return {m.template tape_block<T>(layout<T>().logits), n, width, width};
    }
    template <class Context, class T>
    static gate_run run_of(Context const& context, layer_memory<T> const& m, rows const& batch) {
        gate_run run;
        run.term = scorer_has_term ? gate_terms(m) : nullptr;
        run.slopes = m.template tape_block<double>(layout<T>().slopes);
        run.draws = Context::behaviour == mode::train;
        run.site = context.site(m.stream, purpose::gate);
        run.batch = batch;
        return run;
    }

    /// Weights and experts [rows][slots] of a batch; `chosen` has no data where a slot is its expert and nobody asks.
    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<master_of<T>> weights, matrix_view<std::int32_t> chosen) {
        if constexpr (searches)
            forward_searching(context, n, m, batch, x, weights, chosen);
        else
            route(context, n.gate, m, batch, x, weights, chosen);
    }

    /// dlogits and the gradients of the gate's tensors from those of the weights; dx is written when Want.inputs.
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<master_of<T> const> weights,
                         matrix_view<std::int32_t const> chosen, matrix_view<master_of<T> const> dweights,
                         matrix_view<T> dx) {
        if constexpr (searches)
            backward_searching<Want>(context, n, m, batch, x, weights, dweights, dx);
        else
            route_back<Want>(context, n.gate, m, batch, x, weights, chosen, dweights, dx);
    }

    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        kernel::update(context, optimizer, n.kernel_rule, m, given);
        bias::update(context, optimizer, n.bias_rule, bias_memory(m), given);
        search::update(context, optimizer, n.search_rule, search_memory(m), given);
        // Here and not in forward, as all state: a step whose loss is not finite leaves it alone.
        if constexpr (searches && !std::is_same_v<Optimizer, no_step>)
            if (learns(n, m)) {
                double* const soft = m.template tape_block<double>(layout<T>().soft);
                // Of several samples of a batch the mean counts; the permutation nearest to their sum is the same.
                for (int k = 1; k < given.copies.count; ++k)
                    context.device.add(contiguous_view<double const>(given.copies.of(soft, k), 1, parts * squared),
                                       contiguous_view(soft, 1, parts * squared));
                for (int j = 0; j < parts; ++j)
                    context.device.round_permutation(experts, soft + j * squared,
                                                     m.template tape_block<double>(layout<T>().potentials),
                                                     m.state + permutation_at + j * squared);
            }
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        kernel::initialise(context, m);
        bias::initialise(context, bias_memory(m));
        search::initialise(context, search_memory(m));
        using W = master_of<T>;
        if constexpr (keys > 0)
            context.device.initialise(
                [](matrix_view<W> table, random_site const& site) { scorer::fill_table(table, site); },
                matrix_view<W>{m.state, 1, keys, keys},
                context.site(m.stream + static_cast<std::uint32_t>(tensors().streams), purpose::gate));
        if constexpr (searches)
            context.device.initialise(
                [](matrix_view<W> w, random_site const&) {
                    for (index_t r = 0; r < w.rows; ++r)
                        for (index_t c = 0; c < w.columns; ++c)
                            w(r, c) = r % experts == c ? W(1) : W(0);
                },
                matrix_view<W>{m.state + permutation_at, wide, experts, experts}, random_site{});
    }
    static void describe(layer_report& report, std::string const& path) {
        index_t const state = report.at.state;
        if constexpr (keys > 0) report.add_state(path, "table", 1, keys, state);
        if constexpr (searches) report.add_state(path, "permutation", wide, experts, state + permutation_at);
        kernel::describe(report, path, "kernel");
        bias::describe(report, path, "bias");
        search::describe(report, path, "scores");
        if (scorer_has_term) report.add_term(path, ".", name_of<scorer>());
        if (searches && parts == 1) report.add_term(path, ".permutation_entropy");
        for (int j = 0; searches && parts > 1 && j < parts; ++j)
            report.add_term(path, ".permutation_entropy.", j);
        footprint rest = size<float>();
        rest.parameters = rest.mask_words = rest.group_sets = 0;
        rest.tensors = rest.streams = 0;
        rest.terms = terms;
        report.at = report.at + rest;
    }
    static constexpr std::string_view gate_name() { return name_of<Gate>(); }
    static constexpr index_t parameter_count() { return (reads_input ? in * width : 0) + (keyed ? 0 : width); }

private:
    template <class Context, class T>
    static void route(Context& context, scorer_op const& op, layer_memory<T> const& m, rows const& batch,
                      matrix_view<T const> x, matrix_view<master_of<T>> weights, matrix_view<std::int32_t> chosen) {
        if constexpr (keyed) {
            context.device.template look_up<scorer>(op, batch, x, static_cast<master_of<T> const*>(m.state), weights,
                                                    chosen);
        } else {
            matrix_view<T> const logits = logits_of(m, x.rows);
            if constexpr (reads_input)
                context.device.template product_forward<void>(
                    x, matrix_view<T const>{kernel::operand(m), in, width, width}, bias_memory(m).parameters, logits);
            else
                context.device.repeat_rows(bias_memory(m).parameters, logits);
            watch_layer(context, m.stream);
            context.device.template route<scorer>(op, matrix_view<T const>(logits), weights, chosen,
                                                  run_of(context, m, batch));
            if constexpr (chooses_rows)
                context.device.choose_rows(scorer::rows_of_expert(x.rows),
                                           m.template work_block<master_of<T>>(work_layout<T>().order), weights);
        }
    }

    template <differentiate Want, class Context, class T>
    static void route_back(Context& context, scorer_op const& op, layer_memory<T> const& m, rows const& batch,
                           matrix_view<T const> x, matrix_view<master_of<T> const> weights,
                           matrix_view<std::int32_t const> chosen, matrix_view<master_of<T> const> dweights,
                           matrix_view<T> dx) {
        if constexpr (!keyed) {
            matrix_view<T> const dlogits{m.template work_block<T>(work_layout<T>().dlogits), x.rows, width, width};
            matrix_view<T const> const dz = dlogits;
            watch_layer(context, m.stream);
            context.device.template route_backward<scorer>(op, matrix_view<T const>(logits_of(m, x.rows)), weights,
                                                           chosen, dweights, dlogits, run_of(context, m, batch));
            if constexpr (Want.parameters) {
                if constexpr (reads_input)
                    context.device.template product_weight_gradient<void>(
                        x, dz, matrix_view<master_of<T>>{m.gradients, in, width, width});
                context.device.column_sums(dz, bias_memory(m).gradients);
            }
            if constexpr (Want.inputs && reads_input)
                context.device.template product_input_gradient<void>(
                    dz, matrix_view<T const>{kernel::operand(m), in, width, width}, dx);
        }
        if constexpr (Want.inputs && !reads_input) context.device.clear(dx);
    }

    // ---- with a search: the scorer's weights over all experts, w, go to the experts of the permutation, g = w P, and
    // are divided by their sum where the scorer's add up to one.

    template <class T> static matrix_view<master_of<T>> spread_of(layer_memory<T> const& m, index_t n) {
        return {m.template tape_block<master_of<T>>(layout<T>().spread), n, wide, wide};
    }
    template <class T> static matrix_view<master_of<T>> scored_of(layer_memory<T> const& m, index_t n) {
        if constexpr (scorer::slot_is_expert)
            return spread_of(m, n);
        else
            return {m.template tape_block<master_of<T>>(layout<T>().scored), n, scorer::slots, scorer::slots};
    }
    template <class T> static matrix_view<std::int32_t> scored_experts_of(layer_memory<T> const& m, index_t n) {
        if constexpr (scorer::slot_is_expert)
            return {};
        else
            return {m.template tape_block<std::int32_t>(layout<T>().scored_experts), n, scorer::slots, scorer::slots};
    }
    /// Frozen scores are not searched with.
    template <class T> static bool learns(numbers const& n, layer_memory<T> const& m) {
        return n.gate.learns && !search_memory(m).frozen(1);
    }
    /// Soft while a step of training learns it; what was found otherwise.
    template <class Context, class T>
    static matrix_view<master_of<T> const> permutation_of(numbers const& n, layer_memory<T> const& m) {
        bool const soft = Context::behaviour == mode::train && learns(n, m);
        return {soft ? m.template tape_block<master_of<T>>(layout<T>().permutation) : m.state + permutation_at, wide,
                experts, experts};
    }

    template <class Context, class T>
    static void forward_searching(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                                  matrix_view<T const> x, matrix_view<master_of<T>> weights,
                                  matrix_view<std::int32_t> chosen) {
        using W = master_of<T>;
        constexpr auto p = layout<T>();
        matrix_view<W> const spread = spread_of(m, x.rows);
        route(context, n.gate.scorer, m, batch, x, scored_of(m, x.rows), scored_experts_of(m, x.rows));
        if constexpr (!scorer::slot_is_expert)
            context.device.spread_slots(matrix_view<W const>(scored_of(m, x.rows)),
                                        matrix_view<std::int32_t const>(scored_experts_of(m, x.rows)), spread);
        if constexpr (Context::behaviour == mode::train)
            if (learns(n, m))
                for (int j = 0; j < parts; ++j) {
                    random_site site = context.site(search_memory(m).stream, purpose::gate);
                    site.pass += static_cast<std::uint32_t>(j); // the number of the draw
                    watch_layer(context, search_memory(m).stream);
                    context.device.soft_permutation(
                        n.gate, experts, static_cast<W const*>(search_memory(m).parameters) + j * squared, site,
                        m.template tape_block<double>(p.noisy) + j * squared,
                        m.template tape_block<double>(p.potentials) + j * Gate::scratch,
                        m.template tape_block<double>(p.soft) + j * squared,
                        m.template tape_block<W>(p.permutation) + j * squared,
                        gate_terms(m) ? gate_terms(m) + (scorer_has_term ? 1 : 0) + j : nullptr);
                }
        context.device.template product_forward<void>(matrix_view<W const>(spread), permutation_of<Context>(n, m),
                                                      static_cast<W const*>(nullptr), weights);
        if constexpr (gate_sums_to_one<scorer>())
            context.device.divide_by_sums(weights, m.template tape_block<W>(p.sums));
        if (chosen.data) context.device.number_slots(chosen);
    }

    template <differentiate Want, class Context, class T>
    static void backward_searching(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                                   matrix_view<T const> x, matrix_view<master_of<T> const> weights,
                                   matrix_view<master_of<T> const> dweights, matrix_view<T> dx) {
        using W = master_of<T>;
        constexpr auto p = layout<T>();
        constexpr auto w = work_layout<T>();
        matrix_view<W> const dpermuted{m.template work_block<W>(w.dpermuted), x.rows, experts, experts};
        matrix_view<W> const dspread{m.template work_block<W>(w.dspread), x.rows, wide, wide};
        matrix_view<W const> const permutation = permutation_of<Context>(n, m);
        if constexpr (gate_sums_to_one<scorer>())
            context.device.divide_by_sums_backward(weights, dweights, m.template tape_block<W>(p.sums), dpermuted);
        else
            context.device.copy(dweights, dpermuted);
        context.device.template product_input_gradient<void>(matrix_view<W const>(dpermuted), permutation, dspread);
        if constexpr (Want.parameters) {
            W* const dscores = search_memory(m).gradients;
            bool const soft = Context::behaviour == mode::train && learns(n, m);
            if (soft) {
                matrix_view<W> const dpermutation{m.template work_block<W>(w.dpermutation), wide, experts, experts};
                context.device.template product_weight_gradient<void>(matrix_view<W const>(spread_of(m, x.rows)),
                                                                      matrix_view<W const>(dpermuted), dpermutation);
                for (int j = 0; j < parts; ++j)
                    context.device.soft_permutation_backward(
                        n.gate, experts, m.template tape_block<double>(p.noisy) + j * squared,
                        m.template tape_block<double>(p.potentials) + j * Gate::scratch,
                        m.template tape_block<double>(p.soft) + j * squared,
                        static_cast<W const*>(dpermutation.data) + j * squared, m.template work_block<double>(w.dsoft),
                        dscores + j * squared);
            } else {
                context.device.zero(dscores, parts * squared);
            }
        }
        matrix_view<W const> dscored = dspread;
        if constexpr (!scorer::slot_is_expert) {
            matrix_view<W> const slots_of{m.template work_block<W>(w.dscored), x.rows, scorer::slots, scorer::slots};
            context.device.gather_slots(matrix_view<W const>(dspread), matrix_view<W const>(scored_of(m, x.rows)),
                                        matrix_view<std::int32_t const>(scored_experts_of(m, x.rows)), slots_of);
            dscored = slots_of;
        }
        route_back<Want>(context, n.gate.scorer, m, batch, x, matrix_view<W const>(scored_of(m, x.rows)),
                         matrix_view<std::int32_t const>(scored_experts_of(m, x.rows)), dscored, dx);
    }
};

} // namespace espalier::detail
