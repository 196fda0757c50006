// SPDX-License-Identifier: Apache-2.0
// What tests of `fit` train on, and how.
#pragma once

#include "../layer/naive.hpp"

#include <espalier/data/table.hpp>
#include <espalier/train/fit.hpp>

#include <cstdint>

namespace espalier_test {

/// Rows of three classes in turn that lie apart in every third column.
inline espalier::data_set clusters(espalier::index_t count, espalier::index_t width, std::uint64_t seed_value) {
    espalier::data_set data;
    data.count = count;
    data.width = width;
    auto const noise = naive::random(count, width, seed_value);
    for (espalier::index_t r = 0; r < count; ++r) {
        data.labels.push_back(static_cast<std::int32_t>(r % 3));
        for (espalier::index_t c = 0; c < width; ++c)
            data.features.push_back(static_cast<float>(noise(r, c) + (c % 3 == r % 3 ? 1.0 : 0.0)));
    }
    return data;
}

/// Batches of 16, without a progress bar.
inline espalier::fit_options quiet(espalier::index_t epochs) {
    espalier::fit_options options;
    options.epochs = epochs;
    options.batch = 16;
    options.progress = false;
    return options;
}

} // namespace espalier_test
