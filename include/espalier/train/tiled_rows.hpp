// SPDX-License-Identifier: Apache-2.0
// host only. The tags of a batch whose rows come out of the network several times.
#pragma once

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier::detail {

/// Tags and target rows repeated `copies` times, in the device's memory, allocated once for `capacity` rows.
template <class Device, class Target> class tiled_rows {
public:
    tiled_rows(index_t capacity, int copies, index_t target_width)
        : copies_(copies), sample_(size(capacity)), label_(size(capacity)), partner_(size(capacity)),
          group_(size(capacity)), mixing_(size(capacity)), weight_(size(capacity)), sign_(size(capacity)),
          targets_(size(capacity) * target_width) {}

    rows tags(Device& device, rows const& batch) {
        if (copies_ == 1) return batch;
        rows tiled = batch;
        tiled.count = batch.count * copies_;
        tiled.copies = copies_;
        tiled.origin = nullptr;
        tiled.key = nullptr;
        tiled.sample = tile(device, batch.sample, sample_, batch.count);
        tiled.label = tile(device, batch.label, label_, batch.count);
        tiled.partner_label = tile(device, batch.partner_label, partner_, batch.count);
        tiled.group = tile(device, batch.group, group_, batch.count);
        tiled.mixing = tile(device, batch.mixing, mixing_, batch.count);
        tiled.weight = tile(device, batch.weight, weight_, batch.count);
        tiled.sign = tile(device, batch.sign, sign_, batch.count);
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
    template <class U> U const* tile(Device& device, U const* from, buffer<U>& to, index_t n) const {
        if (!from) return nullptr;
        device.repeat(from, n, copies_, to.data());
        return to.data();
    }

    int copies_;
    buffer<std::int64_t> sample_;
    buffer<std::int32_t> label_, partner_, group_;
    buffer<float> mixing_, weight_, sign_;
    buffer<Target> targets_;
};

} // namespace espalier::detail
