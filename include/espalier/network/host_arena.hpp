// SPDX-License-Identifier: Apache-2.0
// host only. Device memory as the host reads and writes it.
#pragma once

#include <espalier/layer/report.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace espalier::detail {

/// An arena as the host sees it: itself, or a copy where the device has memory of its own.
template <class Device, class U> class host_arena {
    using buffer = typename Device::template buffer<U>;

public:
    explicit host_arena(buffer& arena) : arena_(&arena) {
        if constexpr (!Device::host_memory) {
            copy_.resize(static_cast<std::size_t>(arena.size()));
            if (arena.size() > 0) arena.copy_to_host(copy_.data(), arena.size());
        }
    }
    U* data() {
        if constexpr (Device::host_memory)
            return arena_->data();
        else
            return copy_.data();
    }
    index_t size() const { return arena_->size(); }
    /// Makes the device see what was written.
    void write_back() {
        if constexpr (!Device::host_memory)
            if (arena_->size() > 0) arena_->copy_from_host(copy_.data(), arena_->size());
    }

private:
    struct nothing {};
    buffer* arena_;
    [[no_unique_address]] std::conditional_t<Device::host_memory, nothing, std::vector<U>> copy_{};
};

/// The parameters of a network in the host's memory.
template <class Network> struct parameters_on_host {
    using device = typename Network::device_type;
    using wide = typename Network::wide;
    host_arena<device, wide> weights, state;
    host_arena<device, std::uint32_t> masks;

    explicit parameters_on_host(typename Network::parameters_type& p)
        : weights(p.weights()), state(p.state()), masks(p.masks()) {}
    wide* at(tensor_info const& t) { return (t.trained ? weights : state).data() + t.offset; }
    std::uint32_t* mask_of(tensor_info const& t) { return masks.data() + t.mask_offset; }
    void write_back() {
        weights.write_back();
        state.write_back();
        masks.write_back();
    }
};

/// The numbers of one tensor, on any device.
template <class Network> std::vector<typename Network::wide> numbers_of(Network const& net, tensor_info const& t) {
    std::vector<typename Network::wide> numbers(static_cast<std::size_t>(t.size()));
    (t.trained ? net.values().weights() : net.values().state()).copy_to_host(numbers.data(), t.size(), t.offset);
    return numbers;
}
/// Makes them others, and no more: copies that products read do not follow.
template <class Network> void set_numbers(Network& net, tensor_info const& t, typename Network::wide const* numbers) {
    (t.trained ? net.values().weights() : net.values().state()).copy_from_host(numbers, t.size(), t.offset);
}

} // namespace espalier::detail
