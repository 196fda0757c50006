// SPDX-License-Identifier: Apache-2.0
// A mixture of experts: a gate, equal experts with parameters of their own, and a dispatch between them.
#pragma once

#include <espalier/core/pairs.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

namespace detail {

template <shape In, class Gate, class Expert, class... Ps> struct bound_moe {
    static constexpr shape input = In;
    static constexpr shape output = Expert::output;
    static constexpr bool passes_through = false;
    static constexpr int growth = 1;
    static constexpr bool reads_output = false;
    static constexpr bool prunes = Expert::prunes;

    static constexpr index_t in = In.size();
    static constexpr index_t out = output.size();
    static constexpr int experts = Gate::experts;
    static constexpr int slots = Gate::slots;
    static constexpr bool gathers = pick<axis::dispatch, dispatch::compacted, Ps...>::gathers;
    static constexpr bool has_term = gate_has_term<op_of<Gate>>();

    using kernel =
        tensor_part<role::gate, in, Gate::logits, pick<axis::initial, initial::xavier_uniform, Ps...>, Ps...>;
    using bias = tensor_part<role::bias, 1, Gate::logits, initial::zeros, Ps...>;
    static constexpr bool needs_global_norm =
        Expert::needs_global_norm || kernel::rule::needs_global_norm || bias::rule::needs_global_norm;
    static constexpr bool needs_reference =
        Expert::needs_reference || kernel::rule::needs_reference || bias::rule::needs_reference;

    struct numbers {
        op_of<Gate> gate;
        typename kernel::rule kernel_rule;
        typename bias::rule bias_rule;
        typename Expert::numbers expert;
    };
    static numbers at(clock const& now) { return {op_at<Gate>(now), kernel::at(now), bias::at(now), Expert::at(now)}; }

    // Tape: logits, weights (never narrow), experts, and per expert or per pair what the experts keep.
    template <class T> struct places {
        extent logits{};
        extent weights{};
        extent chosen{};
        extent pair{};
        extent first{};
        extent count{};
        extent pair_row{};
        extent pair_origin{};
        extent expert_inputs{};
        extent expert_outputs{};
        extent expert_tape{};
        extent total{};
    };
    /// Rows that all experts together may get: one a pair, plus what rounding every block up may add.
    static constexpr extent pairs_of(index_t bytes_per_row) {
        return gathers ? extent{slots * bytes_per_row, experts * row_granule * bytes_per_row}
                       : extent{experts * bytes_per_row, 0};
    }
    template <class T> static constexpr places<T> layout() {
        places<T> p;
        extent at{};
        auto const place = [&](extent& where, extent size) {
            where = at;
            at = at + size;
        };
        extent const tape = Expert::template size<T>().tape;
        place(p.logits, row_block<T>(Gate::logits));
        place(p.weights, row_block<master_of<T>>(slots));
        place(p.chosen, row_block<std::int32_t>(slots));
        if (gathers) {
            place(p.pair, row_block<std::int32_t>(slots));
            place(p.first, fixed_block<std::int32_t>(experts));
            place(p.count, fixed_block<std::int32_t>(experts));
            place(p.pair_row, pairs_of(sizeof(std::int32_t)));
            place(p.pair_origin, pairs_of(sizeof(std::uint32_t)));
            place(p.expert_inputs, pairs_of(row_block<T>(in).per_row));
        }
        place(p.expert_outputs, pairs_of(row_block<T>(out).per_row));
        extent tapes = pairs_of(tape.per_row);
        tapes.fixed += experts * tape.fixed;
        place(p.expert_tape, tapes);
        p.total = at;
        return p;
    }

    // Work: gradients of logits and weights, of the experts' outputs and inputs.
    template <class T> struct work_places {
        extent dlogits{};
        extent dweights{};
        extent doutputs{};
        extent dinputs{};
        extent child{};
        extent total{};
    };
    template <class T> static constexpr work_places<T> work_layout() {
        work_places<T> p;
        extent at{};
        auto const place = [&](extent& where, extent size) {
            where = at;
            at = at + size;
        };
        place(p.dlogits, row_block<T>(Gate::logits));
        place(p.dweights, row_block<master_of<T>>(slots));
        extent const one{1, row_granule}; // one expert's block: at most all rows, rounded up
        place(p.doutputs, {one.per_row * row_block<T>(out).per_row, one.fixed * row_block<T>(out).per_row});
        place(p.dinputs, {one.per_row * row_block<T>(in).per_row, one.fixed * row_block<T>(in).per_row});
        place(p.child, Expert::template work<T>());
        p.total = at;
        return p;
    }

    template <class T> static constexpr footprint own() {
        footprint f = kernel::size() + bias::size();
        f.tape = layout<T>().total;
        f.terms += has_term ? 1 : 0;
        return f;
    }
    template <class T> static constexpr footprint expert_size() {
        footprint f = Expert::template size<T>();
        f.tape = {};
        return f;
    }
    template <class T> static constexpr footprint size() { return own<T>() + experts * expert_size<T>(); }
    template <class T> static constexpr extent work() { return work_layout<T>().total; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t const a = Device::template product_scratch<T, void>(capacity, in, Gate::logits);
        std::size_t const b = Expert::template scratch<Device, T>(capacity);
        return a > b ? a : b;
    }

    template <class T> static layer_memory<T> bias_memory(layer_memory<T> const& m) {
        return m.child(kernel::size(), {});
    }
    template <class T> static double* gate_term(layer_memory<T> const& m) {
        return m.terms ? m.terms + kernel::size().terms + bias::size().terms : nullptr;
    }

    /// The parameters of expert e, and the part of the tape that starts at row `first` of the experts' rows.
    template <class T>
    static layer_memory<T> expert_memory(layer_memory<T> const& m, int e, index_t first, index_t row_count) {
        footprint at = own<T>() + e * expert_size<T>();
        at.tape = {};
        layer_memory<T> child = m.child(at, work_layout<T>().child);
        extent const tape = Expert::template size<T>().tape;
        if (m.tape)
            child.tape =
                m.template tape_block<std::byte>(layout<T>().expert_tape) + first * tape.per_row + e * tape.fixed;
        child.capacity = gathers ? round_up(row_count, row_granule) : m.capacity;
        return child;
    }

    template <class T> static matrix_view<T> tape_rows(layer_memory<T> const& m, extent at, index_t n, index_t width) {
        return {m.template tape_block<T>(at), n, width, width};
    }
    template <class T> static matrix_view<master_of<T>> weights_of(layer_memory<T> const& m, index_t n) {
        return {m.template tape_block<master_of<T>>(layout<T>().weights), n, slots, slots};
    }
    template <class T> static matrix_view<std::int32_t> chosen(layer_memory<T> const& m, index_t n) {
        if (Gate::slot_is_expert) return {};
        return {m.template tape_block<std::int32_t>(layout<T>().chosen), n, slots, slots};
    }
    template <class T> static pair_table pairs(layer_memory<T> const& m) {
        constexpr auto p = layout<T>();
        return {m.template tape_block<std::int32_t>(p.pair_row), m.template tape_block<std::uint32_t>(p.pair_origin),
                m.template tape_block<std::int32_t>(p.pair), m.template tape_block<std::int32_t>(p.first),
                m.template tape_block<std::int32_t>(p.count)};
    }

    /// Calls body(expert, first row, number of rows) for the experts' blocks of rows in the tape.
    template <class T, class Body> static void for_experts(layer_memory<T> const& m, index_t n, Body const& body) {
        for (int e = 0; e < experts; ++e) {
            if constexpr (gathers) {
                auto const table = pairs(m);
                body(e, index_t{table.first[e]}, index_t{table.count[e]});
            } else {
                body(e, e * m.capacity, n);
            }
        }
    }

    /// The output of the expert in slot s of row r.
    template <class T> static expert_outputs<T> outputs_of(layer_memory<T> const& m) {
        expert_outputs<T> o;
        o.all = tape_rows(m, layout<T>().expert_outputs, gathers ? slots * m.capacity : experts * m.capacity, out);
        o.slots = slots;
        o.block = m.capacity;
        o.pair = gathers ? pairs(m).pair : nullptr;
        o.expert = chosen(m, 0).data;
        return o;
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        static_assert(!gathers || Context::device_type::host_memory,
                      "espalier: dispatch::compacted runs on the CPU only, because the host must know how many rows an "
                      "expert has; give moe dispatch::dense as its last argument to run it on a GPU");
        if constexpr (!gathers || Context::device_type::host_memory) run_forward(context, n, m, batch, x, y);
    }
    template <class Context, class T>
    static void run_forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                            matrix_view<T const> x, matrix_view<T> y) {
        constexpr auto p = layout<T>();
        matrix_view<T> const logits = tape_rows(m, p.logits, x.rows, Gate::logits);
        matrix_view<master_of<T>> const weights = weights_of(m, x.rows);
        matrix_view<master_of<T> const> const shares = weights;
        context.device.template product_forward<void>(
            x, matrix_view<T const>{kernel::operand(m), in, Gate::logits, Gate::logits}, bias_memory(m).parameters,
            logits);
        context.device.template route<Gate>(n.gate, matrix_view<T const>(logits), weights, chosen(m, x.rows),
                                            has_term ? gate_term(m) : nullptr);
        if constexpr (gathers)
            context.device.build_pairs(shares, matrix_view<std::int32_t const>(chosen(m, x.rows)), batch, experts,
                                       row_granule, pairs(m));
        T* const inputs = gathers ? m.template tape_block<T>(p.expert_inputs) : nullptr;
        T* const outputs = m.template tape_block<T>(p.expert_outputs);
        for_experts(m, x.rows, [&](int e, index_t first, index_t count) {
            // Without rows too: what an expert keeps of a batch must not be that of another one.
            matrix_view<T const> from = x;
            rows expert_rows = batch;
            if constexpr (gathers) {
                matrix_view<T> const gathered{inputs + first * in, count, in, in};
                context.device.gather(x, pairs(m).row + first, gathered);
                from = gathered;
                expert_rows = {};
                expert_rows.count = count;
                expert_rows.origin = pairs(m).origin + first;
            }
            Expert::forward(context, n.expert, expert_memory(m, e, first, count), expert_rows, from,
                            matrix_view<T>{outputs + first * out, count, out, out});
        });
        context.device.combine(shares, y, outputs_of(m));
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (!gathers || Context::device_type::host_memory)
            run_backward<Want>(context, n, m, batch, x, dy, dx);
    }
    template <differentiate Want, class Context, class T>
    static void run_backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                             matrix_view<T const> x, matrix_view<T> dy, matrix_view<T> dx) {
        constexpr auto p = layout<T>();
        constexpr auto w = work_layout<T>();
        matrix_view<T const> const logits = tape_rows(m, p.logits, x.rows, Gate::logits);
        matrix_view<master_of<T> const> const weights = weights_of(m, x.rows);
        matrix_view<master_of<T>> const dweights{m.template work_block<master_of<T>>(w.dweights), x.rows, slots, slots};
        matrix_view<T> const dlogits{m.template work_block<T>(w.dlogits), x.rows, Gate::logits, Gate::logits};
        matrix_view<T const> const upstream = dy;
        context.device.weight_gradients(weights, upstream, dweights, outputs_of(m));
        context.device.template route_backward<Gate>(n.gate, logits, weights,
                                                     matrix_view<std::int32_t const>(chosen(m, x.rows)),
                                                     matrix_view<master_of<T> const>(dweights), dlogits);
        matrix_view<T const> const dz = dlogits;
        if constexpr (Want.parameters) {
            context.device.template product_weight_gradient<void>(
                x, dz, matrix_view<master_of<T>>{m.gradients, in, Gate::logits, Gate::logits});
            context.device.column_sums(dz, bias_memory(m).gradients);
        }
        if constexpr (Want.inputs)
            context.device.template product_input_gradient<void>(
                dz, matrix_view<T const>{kernel::operand(m), in, Gate::logits, Gate::logits}, dx);

        T* const inputs = gathers ? m.template tape_block<T>(p.expert_inputs) : nullptr;
        T const* const outputs = m.template tape_block<T>(p.expert_outputs);
        for_experts(m, x.rows, [&](int e, index_t first, index_t count) {
            // An expert without rows still has a gradient: zero.
            matrix_view<T> const d{m.template work_block<T>(w.doutputs), count, out, out};
            matrix_view<T> const di{m.template work_block<T>(w.dinputs), count, in, in};
            matrix_view<T const> from = x;
            rows expert_rows = batch;
            if constexpr (gathers) {
                from = {inputs + first * in, count, in, in};
                expert_rows = {};
                expert_rows.count = count;
                expert_rows.origin = pairs(m).origin + first;
            }
            context.device.expert_gradient(weights, matrix_view<std::int32_t const>(chosen(m, x.rows)), e,
                                           gathers ? pairs(m).row + first : nullptr, upstream, d);
            Expert::template backward<Want>(context, n.expert, expert_memory(m, e, first, count), expert_rows, from,
                                            matrix_view<T const>{outputs + first * out, count, out, out}, d, di);
            if constexpr (Want.inputs && gathers)
                context.device.scatter_add(matrix_view<T const>(di), pairs(m).row + first, dx);
            else if constexpr (Want.inputs)
                context.device.add(matrix_view<T const>(di), dx);
        });
    }

    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        kernel::update(context, optimizer, n.kernel_rule, m, given);
        bias::update(context, optimizer, n.bias_rule, bias_memory(m), given.after(1));
        // A step finds what the experts kept of the batch; without one there may have been no batch yet.
        if constexpr (std::is_same_v<Optimizer, no_step>)
            for (int e = 0; e < experts; ++e)
                Expert::update(context, optimizer, n.expert, expert_memory(m, e, 0, 0),
                               given.after(2 + e * expert_size<T>().tensors));
        else
            for_experts(m, 0, [&](int e, index_t first, index_t count) {
                Expert::update(context, optimizer, n.expert, expert_memory(m, e, first, count),
                               given.after(2 + e * expert_size<T>().tensors));
            });
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        kernel::initialise(context, m);
        bias::initialise(context, bias_memory(m));
        for (int e = 0; e < experts; ++e)
            Expert::initialise(context, expert_memory(m, e, 0, 0));
    }
    template <class Context, class T>
    static void prune(Context& context, prune_walk<master_of<T>>& walk, layer_memory<T> const& m) {
        for (int e = 0; e < experts; ++e)
            Expert::prune(context, walk, expert_memory(m, e, 0, 0));
    }
    static void describe(layer_report& report, std::string const& path) {
        layer_info line;
        line.path = path;
        line.kind = "moe " + std::to_string(experts) + " experts";
        line.input = In;
        line.output = output;
        line.parameters = in * Gate::logits + Gate::logits;
        line.flops = 2.0 * static_cast<double>(in) * Gate::logits;
        line.policies = {describe_policy("gate", name_of<Gate>()),
                         describe_policy("dispatch", pick<axis::dispatch, dispatch::compacted, Ps...>::name)};
        line.depth = report.depth;
        report.layers.push_back(line);
        kernel::describe(report, path, "gate.kernel");
        bias::describe(report, path, "gate.bias");
        if (has_term) report.terms.push_back({path + ".gate." + std::string(name_of<Gate>())});
        footprint rest = own<float>();
        rest.parameters = rest.tensors = rest.streams = rest.mask_words = rest.group_sets = rest.state = 0;
        rest.terms = has_term ? 1 : 0;
        report.at = report.at + rest;
        ++report.depth;
        for (int e = 0; e < experts; ++e)
            Expert::describe(report, path + ".expert." + std::to_string(e));
        --report.depth;
    }
};

template <shape In, class Gate, class Expert, class Inherited, class... Ps> struct bind_moe;
template <shape In, class Gate, class Expert, class... Inherited, class... Ps>
struct bind_moe<In, Gate, Expert, type_list<Inherited...>, Ps...> {
    using type = bound_moe<In, Gate, typename Expert::template bind<In, type_list<Inherited...>>, Ps..., Inherited...>;
};

} // namespace detail

/// y = sum over the experts e that the gate chose of g_e expert_e(x).
/// `Gate`: a policy on axis::gate; `Expert`: a layer or sequence, one copy of parameters for each expert; `Ps`: a
/// dispatch (compacted unless given) and policies of the gate's own tensors. Tensors: "gate.kernel" in x logits,
/// "gate.bias", and the experts' below "expert.E.".
/// Forward costs the gate's product and, compacted, the experts' work for the filled slots only.
template <class Gate, class Expert, class... Ps> struct moe {
    static constexpr std::string_view name = "moe";
    using axes = type_list<axis::dispatch, axis::penalty, axis::transform, axis::initial>;

    static constexpr shape output(shape in) { return Expert::output(in); }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        static_assert(
            diagnostic::holds<gate_policy<Gate>, Where, diagnostic::from_policy<Gate>>,
            "espalier: the first argument of moe is not a gate: it needs `axis`, `experts`, `slots`, `logits` "
            "and `slot_is_expert` (gate/concept.hpp); the next lines name the layer's index and the type");
        if constexpr (!gate_policy<Gate> || !detail::check_has_input<Where, moe, In>())
            return false;
        else
            return detail::policy_checks<Where, moe, axes, Ps...>::run() &&
                   Expert::template check<Where, In, Inherited>();
    }
    template <shape In, class Inherited>
    using bind = typename detail::bind_moe<In, Gate, Expert, Inherited, Ps...>::type;
};

} // namespace espalier
