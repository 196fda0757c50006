// SPDX-License-Identifier: Apache-2.0
// Loss and accuracy by a training that is there already: `espalier::evaluate` would make another one to compile.
#pragma once

#include "frame.hpp"

#include <espalier/train/epoch_log.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstddef>

namespace methods {

/// Of all rows in one piece, as the network is used: the network has room for as many.
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
