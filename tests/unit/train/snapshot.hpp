// SPDX-License-Identifier: Apache-2.0
// Everything that a training may change, to see that a step which was refused has changed nothing.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace espalier_test {

template <class Training> struct snapshot {
    std::vector<double> numbers;
    std::vector<std::uint32_t> masks;
    std::vector<double> tensor_progress;
    std::uint64_t step = 0, updates = 0;

    explicit snapshot(Training& run)
        : tensor_progress(run.tensor_progress()), step(run.time().step), updates(run.progress().updates) {
        auto const keep = [&](auto& buffer) {
            numbers.insert(numbers.end(), buffer.data(), buffer.data() + buffer.size());
        };
        auto& values = run.net().values();
        keep(values.weights());
        keep(values.state());
        keep(run.moment_values());
        keep(run.loss_state());
        masks.assign(values.masks().data(), values.masks().data() + values.masks().size());
    }
    friend bool operator==(snapshot const& a, snapshot const& b) {
        return a.step == b.step && a.updates == b.updates && a.masks == b.masks &&
               a.tensor_progress == b.tensor_progress && a.numbers.size() == b.numbers.size() &&
               std::memcmp(a.numbers.data(), b.numbers.data(), a.numbers.size() * sizeof(double)) == 0;
    }
};

} // namespace espalier_test
