// SPDX-License-Identifier: Apache-2.0
// host only. Channels of a normalisation that are to go, taken out of the function that a network computes.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/text.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/network/set_mask.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

/// Scale and shift of the normalisation at that path, once the flags are found to be one a channel.
inline std::pair<tensor_info const*, tensor_info const*> checked_channels(std::vector<tensor_info> const& tensors,
                                                                          std::string_view normalisation,
                                                                          std::span<std::uint8_t const> keep) {
    tensor_info const& scale = tensor_named(tensors, std::string(normalisation) + ".scale");
    tensor_info const& shift = tensor_named(tensors, std::string(normalisation) + ".shift");
    require_flags("remove_channels", scale, keep);
    return {&scale, &shift};
}

template <class Network>
void clear_channels(Network& net, std::pair<tensor_info const*, tensor_info const*> const& channels,
                    std::span<std::uint8_t const> keep) {
    for (tensor_info const* t : {channels.first, channels.second}) {
        auto numbers = numbers_of(net, *t);
        for (std::size_t c = 0; c < keep.size(); ++c)
            if (keep[c] == 0) numbers[c] = 0;
        set_numbers(net, *t, numbers.data());
    }
    net.refresh();
}

} // namespace detail

/// Sets scale and shift of the normalisation at a path, "2", to 0 in the channels that `keep` leaves out: what comes
/// behind sees 0 there, and columns of the layer before and rows of the one behind may be cut out with them.
///
/// A channel whose scale was driven to 0 still gives its shift: behind an activation f it is the constant f(shift), and
/// with the channel that goes too. The overload below folds it into the layer behind; fine-tuning makes up for it too.
/// Throws, with nothing changed, data_error when the path has no scale and shift or for a flag that is neither 0 nor 1,
/// and shape_error for another number of flags than channels.
template <class Network>
void remove_channels(Network& net, std::string_view normalisation, std::span<std::uint8_t const> keep) {
    static_assert(detail::check_network<Network>());
    detail::clear_channels(net, detail::checked_channels(Network::tensors(), normalisation, keep), keep);
}

/// The same for channels that go through Activation f, element by element, into the dense layer `next`, "3", with
/// stored kernel W and bias b: before they are set to 0,
///     b <- b + sum over the channels c that go of (f(shift_c) - f(0)) W_c
/// so that channels of scale 0 leave the network's outputs as they are, but for rounding. Dropout between the two is
/// not looked at: its mean is what is folded. Throws also, with nothing changed, data_error when `next` lacks "kernel"
/// or "bias", and shape_error when its kernel has another number of rows.
///
///     remove_channels<activation::relu>(model, "2", "3", keep);
template <policy_on<axis::activation> Activation, class Network>
void remove_channels(Network& net, std::string_view normalisation, std::string_view next,
                     std::span<std::uint8_t const> keep) {
    static_assert(detail::check_network<Network>());
    using wide = typename Network::wide;
    auto const& tensors = Network::tensors();
    auto const channels = detail::checked_channels(tensors, normalisation, keep);
    tensor_info const& kernel = detail::tensor_named(tensors, std::string(next) + ".kernel");
    tensor_info const& bias = detail::tensor_named(tensors, std::string(next) + ".bias");
    if (kernel.rows != channels.first->size())
        detail::throw_shape_error("remove_channels: ", kernel.name, " has ", kernel.rows, " rows, and ",
                                  channels.first->name, " ", channels.first->size(), " channels");
    auto const shift = detail::numbers_of(net, *channels.second), w = detail::numbers_of(net, kernel);
    auto b = detail::numbers_of(net, bias);
    auto const f = op_at<Activation>(std::as_const(net).values().time());
    for (index_t o = 0; o < kernel.columns; ++o) {
        double sum = static_cast<double>(b[static_cast<std::size_t>(o)]);
        for (index_t c = 0; c < kernel.rows; ++c)
            if (auto const i = static_cast<std::size_t>(c); keep[i] == 0)
                sum += (static_cast<double>(f.forward(shift[i])) - static_cast<double>(f.forward(wide(0)))) *
                       static_cast<double>(w[static_cast<std::size_t>(c * kernel.columns + o)]);
        b[static_cast<std::size_t>(o)] = static_cast<wide>(sum);
    }
    detail::set_numbers(net, bias, b.data());
    detail::clear_channels(net, channels, keep);
}

} // namespace espalier
