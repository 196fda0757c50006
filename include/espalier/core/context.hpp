// SPDX-License-Identifier: Apache-2.0
// What one traversal of a network carries from layer to layer.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <string_view>

namespace espalier {

/// Behaviour of a traversal. `train` draws random factors, uses batch statistics and leaves a tape; `evaluate` does
/// neither of these; `judge` draws nothing either, and uses batch statistics: networks that were never trained have no
/// others.
enum class mode { train, evaluate, judge };

/// What a backward pass computes. A structural value: it is a template argument.
struct differentiate {
    bool parameters = true;
    bool inputs = false;
};

/// Forward passes of one step that have bits of their own; the samples of a head count as passes.
inline constexpr int max_passes = 65536;

/// Words that keep the streams of one layer apart.
enum class purpose : std::uint32_t { dropout = 0, initial = 1, gradient = 2, gate = 3 };

/// Streams reserved for each numbered stream of a layer.
inline constexpr std::uint32_t purposes = 4;

/// Where a layer draws for a purpose. `stream` is its number (`layer_info::stream`), `pass` that of the forward pass
/// within the step.
constexpr random_site layer_site(std::uint64_t seed, std::uint32_t stream, purpose use, std::uint64_t step,
                                 std::uint32_t pass) {
    return make_site(seed, stream * purposes + static_cast<std::uint32_t>(use), step, pass);
}

/// The same for all layers: of a policy whose decisions hold for the whole network.
constexpr random_site common_site(std::uint64_t seed, std::string_view policy, std::uint64_t step, std::uint32_t pass) {
    std::uint64_t hash = 14695981039346656037u; // Fowler, Noll and Vo's, 64 bits
    for (char const c : policy)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    return make_site(seed, hash | std::uint64_t{1} << 63, step, pass); // no stream of a layer has the highest bit
}

/// The device that executes, the scalar of activations and the behaviour are types; the rest are the numbers that every
/// layer of this traversal shares.
template <class Device, class T, mode Mode> struct context {
    using device_type = Device;
    using scalar = T;
    static constexpr mode behaviour = Mode;

    Device& device;
    std::uint64_t seed = 0;
    std::uint32_t step = 0;
    std::uint32_t pass = 0;   ///< number of the forward pass within the step, below 65536
    std::uint32_t sample = 0; ///< of the innermost multi_sample

    random_site site(std::uint32_t stream, purpose use) const { return layer_site(seed, stream, use, step, pass); }
};

} // namespace espalier
