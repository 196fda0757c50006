// SPDX-License-Identifier: Apache-2.0
// host only. The dense kernel that an operator or a map stands for, for inference and export.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::weight {

/// Writes the matrix W that the layer at that path ("1", "2.0") multiplies rows with into `kernel`, in x out, as it is
/// at the parameters' time: U_r V_r for `low_rank`, W + A B for `low_rank_adapter`, summed in double; the weights that
/// the scores of `score_mask` keep; what products read behind a weight map or a pruning policy that has them read a
/// copy, a atan(v / b) for `compander`. The result
/// fits the tensor "<path>.kernel" of the same stack without the operator or the map. For parameters in host memory.
/// Throws data_error when no layer of that path has an operator or such a map, shape_error when `kernel` has other
/// extents.
template <class Stack, class Device, class T>
void bake(parameters<Stack, Device, T> const& values, std::string_view layer, matrix_view<master_of<T>> kernel) {
    static_assert(Device::host_memory, "espalier: bake reads parameters in host memory; load them into a network on "
                                       "device::cpu");
    std::string known;
    auto const require_extents = [&](index_t rows, index_t columns) {
        if (kernel.rows != rows || kernel.columns != columns)
            espalier::detail::throw_shape_error("bake: layer ", layer, " has a kernel of ", rows, " x ", columns,
                                                ", given are ", kernel.rows, " x ", kernel.columns);
    };
    for (tensor_info const& t : report_of<Stack>().tensors) {
        if (!t.mapped || t.tensor_role == role::score) continue; // scores are an operator's
        if (t.path() != layer) {
            espalier::detail::add_to_list(known, t.path());
            continue;
        }
        require_extents(t.rows, t.columns);
        T const* const from = values.operands().data() + t.offset;
        for (index_t r = 0; r < t.rows; ++r)
            for (index_t c = 0; c < t.columns; ++c)
                kernel(r, c) = static_cast<master_of<T>>(from[r * t.columns + c]);
        return;
    }
    for (operator_info const& o : report_of<Stack>().operators) {
        if (o.layer != layer) {
            espalier::detail::add_to_list(known, o.layer);
            continue;
        }
        require_extents(o.rows, o.columns);
        auto const* const weights = values.weights().data() + o.offset;
        auto const* const fixed = values.state().data() + values.size.state + o.fixed;
        if constexpr (std::is_same_v<master_of<T>, double>)
            o.bake_double(weights, fixed, values.time(), kernel);
        else
            o.bake_float(weights, fixed, values.time(), kernel);
        return;
    }
    espalier::detail::throw_data_error(
        "bake: layer \"", layer,
        "\" has no weight operator and no weight map; layers with one: ", (known.empty() ? "none" : known));
}

/// The same for a network: `bake(model, "1", kernel)`.
template <class Network>
requires requires(Network& net) {
    net.values().weights();
}
void bake(Network const& net, std::string_view layer, matrix_view<typename Network::wide> kernel) {
    bake(net.values(), layer, kernel);
}

} // namespace espalier::weight
