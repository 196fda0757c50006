// SPDX-License-Identifier: Apache-2.0
// A batch routed by a gate's scores, and the way back: product, weights of the slots, gradients of the gate's tensors.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <cstdint>

namespace espalier::detail {

template <class Router, class Context, class T> struct scored_routing {
    using W = master_of<T>;
    using scorer = typename Router::scorer;

    Context& context;
    typename Router::scorer_op const& op;
    layer_memory<T> const& m;
    rows const& batch;
    matrix_view<T const> x;

    void forward(matrix_view<W> weights, matrix_view<std::int32_t> chosen) const {
        if constexpr (Router::keyed) {
            context.device.template look_up<scorer>(op, batch, x, static_cast<W const*>(m.state), weights, chosen);
        } else {
            if constexpr (Router::reads_input)
                context.device.template product_forward<void>(x, kernel(), bias().parameters, logits());
            else
                context.device.repeat_rows(bias().parameters, logits());
            watch_layer(context, m.stream);
            context.device.template route<scorer>(op, matrix_view<T const>(logits()), weights, chosen, run());
            if constexpr (Router::chooses_rows)
                context.device.choose_rows(scorer::rows_of_expert(x.rows),
                                           m.work_block(Router::template work_at<T>.order), weights);
        }
    }

    template <differentiate Want>
    void backward(matrix_view<W const> weights, matrix_view<std::int32_t const> chosen, matrix_view<W const> dweights,
                  matrix_view<T> dx) const {
        if constexpr (!Router::keyed) {
            matrix_view<T> const dlogits{m.work_block(Router::template work_at<T>.dlogits), x.rows, width, width};
            matrix_view<T const> const dz = dlogits;
            watch_layer(context, m.stream);
            context.device.template route_backward<scorer>(op, matrix_view<T const>(logits()), weights, chosen,
                                                           dweights, dlogits, run());
            if constexpr (Want.parameters) {
                if constexpr (Router::reads_input)
                    context.device.template product_weight_gradient<void>(
                        x, dz, matrix_view<W>{m.gradients, Router::in, width, width});
                context.device.column_sums(dz, bias().gradients);
            }
            if constexpr (Want.inputs && Router::reads_input)
                context.device.template product_input_gradient<void>(dz, kernel(), dx);
        }
        if constexpr (Want.inputs && !Router::reads_input) context.device.clear(dx);
    }

private:
    static constexpr index_t width = Router::width;

    matrix_view<T> logits() const { return {m.tape_block(Router::template tape<T>.logits), x.rows, width, width}; }
    matrix_view<T const> kernel() const { return {Router::kernel.operand(m), Router::in, width, width}; }
    layer_memory<T> bias() const { return Router::bias_memory(m); }
    gate_run run() const {
        gate_run its;
        its.term = Router::scorer_has_term ? Router::gate_terms(m) : nullptr;
        its.slopes = m.tape_block(Router::template tape<T>.slopes);
        its.draws = Context::behaviour == mode::train;
        its.site = context.site(m.stream, purpose::gate);
        its.batch = batch;
        return its;
    }
};

} // namespace espalier::detail
