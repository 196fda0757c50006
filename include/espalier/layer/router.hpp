// SPDX-License-Identifier: Apache-2.0
// One gate of a mixture: its tensors, its routing of a batch, and the way back.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/mixture/router_memory.hpp>
#include <espalier/layer/mixture/scored_routing.hpp>
#include <espalier/layer/mixture/searched_routing.hpp>
#include <espalier/layer/report.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace espalier::detail {

/// A gate bound to the width of its input. It leaves the weights and experts of a batch where its owner wants them.
template <shape In, class Gate, class... Ps> struct bound_router : router_memory<In, Gate, Ps...> {
    using known = router_memory<In, Gate, Ps...>;
    using known::bias;
    using known::kernel;
    using known::search;
    using typename known::numbers;

    /// Weights and experts [rows][slots] of a batch; `chosen` has no data where a slot is its expert and nobody asks.
    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<master_of<T>> weights, matrix_view<std::int32_t> chosen) {
        if constexpr (known::searches)
            searched_routing<known, Context, T>{context, n, m, batch, x}.forward(weights, chosen);
        else
            scored_routing<known, Context, T>{context, n.gate, m, batch, x}.forward(weights, chosen);
    }
    /// dlogits and the gradients of the gate's tensors from those of the weights; dx is written when Want.inputs.
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<master_of<T> const> weights,
                         matrix_view<std::int32_t const> chosen, matrix_view<master_of<T> const> dweights,
                         matrix_view<T> dx) {
        if constexpr (known::searches)
            searched_routing<known, Context, T>{context, n, m, batch, x}.template backward<Want>(weights, dweights, dx);
        else
            scored_routing<known, Context, T>{context, n.gate, m, batch, x}.template backward<Want>(weights, chosen,
                                                                                                    dweights, dx);
    }

    template <class Asked> static consteval bool has_tensor() {
        return kernel.template has_tensor<Asked>() || bias.template has_tensor<Asked>() ||
               search.template has_tensor<Asked>();
    }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        kernel.update(context, optimizer, n.kernel_rule, m, given);
        bias.update(context, optimizer, n.bias_rule, known::bias_memory(m), given);
        search.update(context, optimizer, n.search_rule, known::search_memory(m), given);
        // Here and not in forward, as all state: a step whose loss is not finite leaves it alone.
        if constexpr (known::searches && steps<Optimizer>) {
            using routing = searched_routing<known, Context, T>;
            if (routing::learns(n, m)) routing::round(context, m, given.copies);
        }
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        using W = master_of<T>;
        using scorer = typename known::scorer;
        kernel.initialise(context, m);
        bias.initialise(context, known::bias_memory(m));
        search.initialise(context, known::search_memory(m));
        if constexpr (known::keys > 0)
            context.device.initialise(
                [](matrix_view<W> table, random_site const& site) { scorer::fill_table(table, site); },
                matrix_view<W>{m.state, 1, known::keys, known::keys},
                context.site(m.stream + static_cast<std::uint32_t>(known::tensors.streams), purpose::gate));
        if constexpr (known::searches) searched_routing<known, Context, T>::initialise(context, m);
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        constexpr int parts = known::parts;
        if constexpr (known::keys > 0) report.add_state(path, "table", 1, known::keys, at.state);
        if constexpr (known::searches)
            report.add_state(path, "permutation", known::wide, known::experts, at.state + known::permutation_at);
        kernel.describe(report, path, at, "kernel");
        bias.describe(report, path, at + known::bias_at, "bias");
        search.describe(report, path, at + known::search_at, "scores");
        if (known::scorer_has_term) report.add_term(path, ".", name_of<typename known::scorer>());
        if (known::searches && parts == 1) report.add_term(path, ".permutation_entropy");
        for (int j = 0; known::searches && parts > 1 && j < parts; ++j)
            report.add_term(path, ".permutation_entropy.", j);
    }
};

} // namespace espalier::detail
