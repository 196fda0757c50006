// SPDX-License-Identifier: Apache-2.0
// host only. The tags of a batch whose rows come out of the network several times.
#pragma once

#include <espalier/core/repeat_tag.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/train/tag_arrays.hpp>

namespace espalier::detail {

/// Tags and target rows repeated `copies` times, in the device's memory, allocated once for `capacity` rows.
template <class Device, class Target> class tiled_rows {
public:
    tiled_rows(index_t capacity, int copies, index_t target_width)
        : copies_(copies), tags_(size(capacity)), targets_(size(capacity) * target_width) {}

    rows tags(Device& device, rows const& batch) {
        if (copies_ == 1) return batch;
        rows tiled = batch;
        tiled.count = batch.count * copies_;
        tiled.copies = copies_;
        tags_.map(tiled, [&](auto const& from, auto& to) {
            return repeat_tag(device, from, batch.count, copies_, to.data());
        });
        return tiled;
    }

    matrix_view<Target const> targets(Device& device, matrix_view<Target const> from) {
        if (copies_ == 1 || !from.data || targets_.size() == 0) return from;
        matrix_view<Target> const to{targets_.data(), from.rows * copies_, from.columns, from.columns};
        for (int copy = 0; copy < copies_; ++copy)
            device.copy(from, to.middle_rows(copy * from.rows, from.rows));
        return to;
    }

private:
    template <class U> using buffer = typename Device::template buffer<U>;

    index_t size(index_t capacity) const { return copies_ > 1 ? capacity * copies_ : 0; }

    int copies_;
    tag_arrays<buffer> tags_;
    buffer<Target> targets_;
};

} // namespace espalier::detail
