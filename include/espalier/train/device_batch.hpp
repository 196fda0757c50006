// SPDX-License-Identifier: Apache-2.0
// host only. Batches that were put together on the host, where the device can read them.
#pragma once

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/train/counted_rows.hpp>
#include <espalier/train/training.hpp>

#include <cstdint>
#include <vector>

namespace espalier::detail {

/// On a device whose memory the program shares, the batch itself; on another one a copy in memory allocated once.
template <class Device, class T> class device_batch {
    template <class U> using buffer = typename Device::template buffer<U>;

public:
    device_batch(index_t capacity, index_t width, index_t output_width, index_t target_width, bool labels, bool mixes,
                 bool weights, bool keys, bool groups) {
        if constexpr (!Device::host_memory) {
            inputs_ = buffer<T>(capacity * width);
            targets_ = buffer<master_of<T>>(capacity * target_width);
            label_ = buffer<std::int32_t>(labels ? capacity : 0);
            partner_ = buffer<std::int32_t>(labels && mixes ? capacity : 0);
            mixing_ = buffer<float>(mixes ? capacity : 0);
            weight_ = buffer<float>(weights ? capacity : 0);
            sample_ = buffer<std::int64_t>(capacity);
            sign_ = buffer<float>(mixes ? capacity : 0);
            origin_ = buffer<std::uint32_t>(capacity);
            key_ = buffer<std::uint64_t>(keys ? capacity : 0);
            group_ = buffer<std::int32_t>(groups ? capacity : 0);
            outputs_.resize(static_cast<std::size_t>(capacity * output_width));
            counted_ = counted_rows<T>(capacity, width, target_width);
        }
    }

    /// A batch to train on: only the rows that count go to another memory, where the host can no longer tell.
    batch_view<T> upload_counted(batch_view<T> const& host) {
        if constexpr (Device::host_memory)
            return host;
        else
            return upload(counted_.of(host));
    }
    batch_view<T> upload(batch_view<T> const& host) {
        if constexpr (Device::host_memory) {
            return host;
        } else {
            batch_view<T> b = host;
            index_t const n = host.tags.count;
            b.tags.origin = copy(origin_, host.tags.origin, n);
            b.tags.sign = copy(sign_, host.tags.sign, n);
            b.inputs.data = copy(inputs_, host.inputs.data, n * host.inputs.columns);
            b.targets.data = copy(targets_, host.targets.data, n * host.targets.columns);
            b.tags.label = copy(label_, host.tags.label, n);
            b.tags.partner_label = copy(partner_, host.tags.partner_label, n);
            b.tags.mixing = copy(mixing_, host.tags.mixing, n);
            b.tags.weight = copy(weight_, host.tags.weight, n);
            b.tags.sample = copy(sample_, host.tags.sample, n);
            b.tags.key = copy(key_, host.tags.key, n);
            b.tags.group = copy(group_, host.tags.group, n);
            return b;
        }
    }

    /// Outputs of the network, readable by the host.
    matrix_view<T const> download(Device& device, matrix_view<T const> outputs) {
        if constexpr (Device::host_memory) {
            return outputs;
        } else {
            device.copy_to_host(outputs.data, outputs_.data(), outputs.rows * outputs.columns);
            return {outputs_.data(), outputs.rows, outputs.columns, outputs.columns};
        }
    }

private:
    template <class U> static U const* copy(buffer<U>& to, U const* from, index_t n) {
        if (!from || n == 0) return nullptr;
        to.copy_from_host(from, n);
        return to.data();
    }

    buffer<T> inputs_;
    buffer<master_of<T>> targets_;
    buffer<std::int32_t> label_, partner_;
    buffer<float> mixing_, weight_, sign_;
    buffer<std::uint32_t> origin_;
    buffer<std::int64_t> sample_;
    buffer<std::uint64_t> key_;
    buffer<std::int32_t> group_;
    std::vector<T> outputs_;
    counted_rows<T> counted_;
};

} // namespace espalier::detail
