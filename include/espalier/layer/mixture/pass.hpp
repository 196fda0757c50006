// SPDX-License-Identifier: Apache-2.0
// A batch on its way through the gates and experts of a mixture, and back.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/mixture/chunks.hpp>
#include <espalier/layer/mixture/expert_rows.hpp>
#include <espalier/layer/mixture/facts.hpp>
#include <espalier/layer/mixture/groups.hpp>
#include <espalier/layer/mixture/memory.hpp>

#include <cstddef>
#include <cstdint>

namespace espalier::detail {

template <class Mixture, class Context, class T> struct mixture_pass {
    Context& context;
    typename Mixture::numbers const& n;
    layer_memory<T> const& m;
    rows const& batch;
    matrix_view<T const> x;
    index_t first_row = 0; ///< of x among the rows that were routed

    void forward(matrix_view<T> y) const {
        routing_type const routed = routing();
        Mixture::gates_type::each(n.gates, [&](auto const& gate, int t, auto const& its) {
            routing_type const mine = routed.of_task(t);
            gate.forward(context, its, memory::of_gate(m, t), batch, x, mine.weights, mine.chosen);
        });
        for (int t = 0; m.gates && t < Mixture::tasks_count; ++t)
            m.gates[t] = {routed.of_task(t).shares(), routed.of_task(t).experts()};
        index_t const part = in_context::rows_at_once(m.capacity);
        index_t r = 0;
        do { // without rows too: what an expert keeps of a batch must not be that of another one
            index_t const count = x.rows - r < part ? x.rows - r : part;
            rows const its = batch.slice(r, count);
            mixture_pass{context, n, m, its, x.middle_rows(r, count), r}.mix(y.middle_rows(r, count));
            r += count;
        } while (r < x.rows);
        if (m.measures)
            context.device.measure_mixture(routed.shares(), routed.experts(),
                                           in_context::gathers ? memory::pairs(m).pair : nullptr,
                                           in_context::plan_for(x.rows, m.capacity), m.measures);
    }

    template <differentiate Want> void backward(matrix_view<T const> dy, matrix_view<T> dx) const {
        constexpr auto const& work = memory::template work<T>;
        routing_type const routed = routing();
        matrix_view<W> const dweights{m.work_block(work.dweights), x.rows, slots, slots};
        bool const by_pairs = gathered();
        expert_outputs<T> const mixed = memory::outputs(m, x, by_pairs);
        for (int t = 0; t < Mixture::tasks_count; ++t)
            context.device.weight_gradients(routed.of_task(t).shares(), dy.middle_columns(t * out, out),
                                            mixed.from_slot(Mixture::tasks.first_slot[t]),
                                            routing_type::of_task(dweights, t));
        matrix_view<T> const further{m.work_block(work.dinputs), x.rows, in, in};
        Mixture::gates_type::each(n.gates, [&](auto const& gate, int t, auto const& its) {
            routing_type const mine = routed.of_task(t);
            matrix_view<T> const own = t == 0 ? dx : further;
            gate.template backward<Want>(context, its, memory::of_gate(m, t), batch, x, mine.shares(), mine.experts(),
                                         matrix_view<W const>(routing_type::of_task(dweights, t)), own);
            if constexpr (Want.inputs)
                if (t > 0) context.device.add(matrix_view<T const>(own), dx);
        });
        if constexpr (Mixture::passes_rows && Want.inputs)
            context.device.pass_back(routed.shares(), Mixture::tasks, memory::pairs(m).pair, dy, dx);

        work_type const room(context.device, m);
        // An expert without rows still has a gradient: zero.
        groups::each(n.experts, [&](auto const& expert, int e, auto const& its) {
            if constexpr (Mixture::in_chunks) run_chunk_again(e);
            expert_batch<T> const given = batch_of(e, by_pairs);
            expert_rows const& at = given.at;
            matrix_view<T> const d{room.doutputs, at.count, out, out};
            matrix_view<T> const di{room.dinputs, at.count, in, in};
            groups::in_context_of(context, m, e, [&](auto& its_context) {
                its_context.device.expert_gradient(routed.shares(), routed.experts(), Mixture::tasks, given.block, dy,
                                                   d);
                expert.template backward<Want>(its_context, its,
                                               memory::of_expert(m, e, at.kept, at.capacity, room.child), given.tags,
                                               given.x, matrix_view<T const>(outputs_at(at)), d, di);
                if constexpr (Want.inputs && !in_context::together) {
                    if (given.block.row)
                        its_context.device.scatter_add(matrix_view<T const>(di), given.block.row, dx);
                    else
                        its_context.device.add(matrix_view<T const>(di), dx);
                }
            });
        });
        if constexpr (Want.inputs && in_context::together)
            context.device.add_pairs(matrix_view<T const>{room.dinputs, memory::pairs_in(m.capacity), in, in},
                                     memory::pairs(m).pair, slots, Mixture::slot_is_expert, dx);
    }

    /// Where expert e's rows of the last batch lie, of which so many are asked for.
    static expert_rows place_of(layer_memory<T> const& m, int e, index_t n) {
        if constexpr (in_context::gathers)
            if (gathered(m)) return gathered_type::place(m, e, n);
        return dense_rows::place(m, e, n);
    }

private:
    using W = master_of<T>;
    using memory = mixture_memory<Mixture>;
    using in_context = mixture_facts_in<Mixture, Context>;
    using groups = mixture_groups<Mixture, Context>;
    using chunks = mixture_chunks<Mixture>;
    using gathered_type = gathered_rows<Mixture, Context>;
    using work_type = expert_work<Mixture, typename Context::device_type, T>;
    using routing_type = mixture_routing<Mixture, W>;
    static constexpr index_t in = Mixture::in;
    static constexpr index_t out = Mixture::out;
    static constexpr index_t slots = Mixture::slots;

    static std::int32_t* everywhere(layer_memory<T> const& m) {
        return m.tape_block(memory::template tape<T>.everywhere);
    }
    /// Whether the last batch was gathered; known when compiling unless the host can choose.
    static bool gathered(layer_memory<T> const& m) {
        if constexpr (in_context::chooses)
            return *everywhere(m) == 0;
        else
            return in_context::gathers;
    }
    bool gathered() const { return gathered(m); }

    routing_type routing() const { return memory::routing(m, first_row + x.rows).middle_rows(first_row, x.rows); }
    expert_batch<T> batch_of(int e, bool by_pairs) const {
        if constexpr (in_context::gathers)
            if (by_pairs) return gathered_type::batch_of(m, e, batch, x);
        return dense_rows::batch_of(m, e, batch, x);
    }
    matrix_view<T> outputs_at(expert_rows const& at) const {
        return {m.tape_block(memory::template tape<T>.expert_outputs) + at.first * out, at.count, out, out};
    }

    /// Rows that were routed go through their experts.
    void mix(matrix_view<T> y) const {
        routing_type const routed = routing();
        if constexpr (in_context::gathers) {
            pair_table table = memory::pairs(m);
            table.pair += first_row * slots;
            context.device.build_pairs(routed.shares(), routed.experts(), batch,
                                       in_context::plan_for(x.rows, m.capacity), table);
            if constexpr (in_context::chooses) {
                index_t needed = 0;
                for (int e = 0; e < Mixture::experts; ++e)
                    needed += table.count[e];
                bool const dense = Mixture::dispatch_type::dense_for(needed, x.rows * Mixture::experts, !gathered());
                *everywhere(m) = dense ? 1 : 0;
            }
        }
        if constexpr (Mixture::in_chunks) chunks::divide(m);
        bool const by_pairs = gathered();
        {
            work_type const room(context.device, m);
            groups::each(n.experts, [&](auto const& expert, int e, auto const& its) {
                run_expert(expert, e, its, by_pairs, room.child);
            });
        }
        expert_outputs<T> const mixed = memory::outputs(m, x, by_pairs).from_slot(first_row * slots);
        // An expert of weight 0 leaves no trace in y.
        if (!by_pairs) {
            watch_layer(context, m.stream);
            watch_rows(context, step_place::experts, matrix_view<T const>(mixed.all.middle_rows(0, x.rows)),
                       Mixture::experts, m.capacity);
        }
        for (int t = 0; t < Mixture::tasks_count; ++t)
            context.device.combine(routed.of_task(t).shares(), mixed.from_slot(Mixture::tasks.first_slot[t]),
                                   y.middle_columns(t * out, out));
    }
    /// One expert on its rows, or all experts on theirs.
    template <class Expert>
    void run_expert(Expert const& expert, int e, typename Expert::numbers const& its, bool by_pairs,
                    std::byte* work) const {
        expert_batch<T> const given = batch_of(e, by_pairs);
        groups::in_context_of(context, m, e, [&](auto& its_context) {
            if constexpr (in_context::gathers)
                if (by_pairs) gathered_type::gather(its_context.device, m, batch, x, given);
            expert.forward(its_context, its, memory::of_expert(m, e, given.at.kept, given.at.capacity, work),
                           given.tags, given.x, outputs_at(given.at));
        });
    }
    /// Before the way back through the first expert of a chunk: what its experts kept was overwritten since. The order
    /// of the experts is that of compacted, so that sums have its bits.
    void run_chunk_again(int e) const {
        if (!chunks::begins_overwritten(m, e)) return;
        Mixture::experts_type::each(n.experts, [&](auto const& expert, int other, auto const& its) {
            if (chunks::of_expert(m)[other] == chunks::of_expert(m)[e])
                run_expert(expert, other, its, true, work_type(context.device, m).child);
        });
    }
};

} // namespace espalier::detail
