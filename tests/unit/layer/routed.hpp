// SPDX-License-Identifier: Apache-2.0
// What the tests of mixtures share: experts, and batches whose rows say everything that a gate may ask for.
#pragma once

#include "naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/sequence.hpp>

#include <cstdint>
#include <vector>

namespace routed {

using namespace espalier;

using expert = sequence<dense<8, activation::tanh>, dense<3>>;
using dropping = sequence<dense<8, activation::tanh, dropout::bernoulli<0.5>>, dense<3>>;

/// A batch whose rows say everything that a gate may ask for.
struct tagged_batch {
    naive::matrix x;
    std::vector<std::int32_t> labels, groups;
    std::vector<std::uint64_t> keys;

    tagged_batch(index_t n, index_t width, int groups_count, std::uint64_t key_count, std::uint64_t seed = 7)
        : x(naive::random(n, width, seed, 2.0)), labels(naive::cyclic_labels(n, 3)) {
        for (index_t r = 0; r < n; ++r) {
            groups.push_back(static_cast<std::int32_t>(r * 7 % groups_count));
            keys.push_back(static_cast<std::uint64_t>(r * 5) % key_count);
        }
    }
    rows tags() const {
        rows t = naive::tags_of(x.rows, &labels);
        t.group = groups.data();
        t.key = keys.data();
        return t;
    }
};

template <class Net> naive::matrix predicted(Net& net, naive::matrix const& x, rows const& tags) {
    naive::matrix y(x.rows, Net::output_width);
    net.predict(x.view(), tags, y.view());
    return y;
}

} // namespace routed
