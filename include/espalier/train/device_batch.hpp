// SPDX-License-Identifier: Apache-2.0
// host only. Batches that were put together on the host, where the device can read them.
#pragma once

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/train/counted_rows.hpp>
#include <espalier/train/tag_arrays.hpp>
#include <espalier/train/training.hpp>

#include <cstddef>
#include <vector>

namespace espalier::detail {

/// On a device whose memory the program shares, the batch itself; on another one a copy in memory allocated once.
template <class Device, class T> class device_batch {
    template <class U> using buffer = typename Device::template buffer<U>;

public:
    device_batch(index_t capacity, index_t width, index_t output_width, index_t target_width) {
        if constexpr (!Device::host_memory) {
            inputs_ = buffer<T>(capacity * width);
            targets_ = buffer<master_of<T>>(capacity * target_width);
            tags_ = tag_arrays<buffer>(capacity);
            wide_.resize(static_cast<std::size_t>(capacity));
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
            b.inputs.data = copy(host.inputs.data, inputs_, n * host.inputs.columns);
            b.targets.data = copy(host.targets.data, targets_, n * host.targets.columns);
            tags_.map(b.tags, [&](auto const& from, auto& to) { return copy(from, to, n); });
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
    template <class U> static U const* copy(U const* from, buffer<U>& to, index_t n) {
        if (!from || n == 0) return nullptr;
        to.copy_from_host(from, n);
        return to.data();
    }
    row_numbers copy(row_numbers from, buffer<double>& to, index_t n) {
        wide_.resize(static_cast<std::size_t>(n)); // no more than the capacity that it was made with
        for (index_t i = 0; i < n; ++i)
            wide_[static_cast<std::size_t>(i)] = from[i];
        return copy(wide_.data(), to, n);
    }

    buffer<T> inputs_;
    buffer<master_of<T>> targets_;
    tag_arrays<buffer> tags_;
    std::vector<double> wide_;
    std::vector<T> outputs_;
    counted_rows<T> counted_;
};

} // namespace espalier::detail
