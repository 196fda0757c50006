// SPDX-License-Identifier: Apache-2.0
// What is read off a trained network.
#pragma once

#include "frame.hpp"

#include <espalier/core/error.hpp>
#include <espalier/train/epoch_log.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace methods {

/// The values of the tensor of that name. Throws data_error when there is none.
template <class Network> std::span<float> tensor(Network& net, std::string_view name) {
    for (esp::tensor_info const& t : Network::tensors())
        if (t.name == name) return {net.values().view(t).data, static_cast<std::size_t>(t.size())};
    throw esp::data_error("no tensor is called " + std::string(name));
}

/// Loss and accuracy of all rows in one piece, as the network is used: it has room for as many. By a training that is
/// there already, for `espalier::evaluate` would be another one to compile.
template <class Training> esp::evaluation evaluate(Training& run, esp::data_set const& data) {
    esp::rows tags;
    tags.count = data.count;
    tags.label = data.labels.data();
    tags.key = data.keys.empty() ? nullptr : data.keys.data();
    esp::evaluation result;
    result.loss = run.evaluate({data.view().features, tags, {}});
    auto const outputs = run.outputs(data.count);
    for (esp::index_t r = 0; r < data.count; ++r) {
        auto const* const row = outputs.row(r);
        result.accuracy +=
            std::max_element(row, row + outputs.columns) - row == data.labels[static_cast<std::size_t>(r)];
    }
    result.accuracy /= static_cast<double>(data.count);
    return result;
}

} // namespace methods
