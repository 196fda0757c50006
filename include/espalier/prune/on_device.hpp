// SPDX-License-Identifier: Apache-2.0
// host only. How a device whose memory the host does not read selects the mask of one tensor: the verbs of a pruning
// policy, as functions.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/prune/plan.hpp>
#include <espalier/prune/weight_key.hpp>

#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace espalier::prune {

/// Keys of one tensor on a device that it selects by. All pointers but those of the clock are device memory.
template <class Device, class W> struct device_keys {
    /// Adds the keys of a tensor to the survey.
    void (*look)(Device& device, clock const& now, sight<W> const& tensor, index_t n, std::uint32_t const* mask,
                 mask_survey* survey) = nullptr;
    /// Writes the mask of a tensor once the threshold is known; `counters`: mask_counters(n).
    void (*write)(Device& device, clock const& now, sight<W> const& tensor, index_t n, index_t* counters,
                  mask_survey* survey, std::uint32_t* mask) = nullptr;
};

/// The selections of a plan on a device, for weights of type W.
template <class Device, class W> struct device_plan {
    plan const* of = nullptr;
    std::uint64_t largest_key = 0;
    int rounds = 0;                     ///< surveys that find a threshold
    device_keys<Device, W> stages[2]{}; ///< the second: of an exchange
    /// Writes the mask of a tensor of which every group of rows keeps its own; null without groups.
    void (*write_groups)(Device& device, clock const& now, sight<W> const& tensor, index_t rows, index_t columns,
                         mask_survey* survey, std::uint32_t* mask) = nullptr;
    /// Writes the mask of a tensor of which those stay that are below a threshold; null without one.
    void (*write_below)(Device& device, clock const& now, sight<W> const& tensor, index_t n, index_t* counters,
                        mask_survey* survey, std::uint32_t* mask) = nullptr;
};

namespace detail {

// Where the keys of one tensor come from.
template <class Criterion, class Map, class W> struct keys_of_weights {
    static auto key(clock const& now, sight<W> const& tensor, index_t n, std::uint32_t const*) {
        return weight_key<Criterion, op_of<Map>, W>::of(op_at<Map>(now), tensor, n);
    }
};
template <template <class> class Masked, class Criterion, class Map, class W> struct keys_by_mask {
    static auto key(clock const& now, sight<W> const& tensor, index_t n, std::uint32_t const* mask) {
        auto const own = keys_of_weights<Criterion, Map, W>::key(now, tensor, n, mask);
        return Masked<decltype(own)>{own, mask};
    }
};

template <class Keys, class Device, class W> device_keys<Device, W> device_keys_of() {
    device_keys<Device, W> made;
    made.look = [](Device& device, clock const& now, sight<W> const& tensor, index_t n, std::uint32_t const* mask,
                   mask_survey* survey) {
        device.survey_keys(Keys::key(now, tensor, n, mask), tensor.weights, n, survey);
    };
    made.write = [](Device& device, clock const& now, sight<W> const& tensor, index_t n, index_t* counters,
                    mask_survey* survey, std::uint32_t* mask) {
        device.write_mask(Keys::key(now, tensor, n, mask), tensor.weights, n, counters, survey, mask);
    };
    return made;
}

} // namespace detail

/// That of a policy behind a weight map.
template <class Policy, class Map, class Device, class W> device_plan<Device, W> device_plan_of() {
    using selection = typename Policy::selection;
    using criterion = typename Policy::criterion_type;
    using keys = detail::keys_of_weights<criterion, Map, W>;
    using key_type = decltype(to_bits(W()));
    device_plan<Device, W> made{.of = plan_of<Policy, Map>,
                                .largest_key = std::numeric_limits<key_type>::max(),
                                .rounds = mask_survey::rounds(std::numeric_limits<key_type>::digits)};
    if constexpr (exchanges<selection>) {
        using stay = detail::keys_by_mask<kept_key, criterion, Map, W>;
        using come = detail::keys_by_mask<grown_key, typename selection::growth, Map, W>;
        made.stages[0] = detail::device_keys_of<stay, Device, W>();
        made.stages[1] = detail::device_keys_of<come, Device, W>();
    } else {
        made.stages[0] = detail::device_keys_of<keys, Device, W>();
    }
    if constexpr (selects_in_groups<selection>)
        made.write_groups = [](Device& device, clock const& now, sight<W> const& tensor, index_t rows, index_t columns,
                               mask_survey* survey, std::uint32_t* mask) {
            device.write_group_mask(keys::key(now, tensor, rows * columns, nullptr), group_pattern(selection::at(now)),
                                    matrix_view<W const>{tensor.weights, rows, columns, columns}, survey, mask);
        };
    if constexpr (selects_below<selection>)
        made.write_below = [](Device& device, clock const& now, sight<W> const& tensor, index_t n, index_t* counters,
                              mask_survey* survey, std::uint32_t* mask) {
            auto const own = keys::key(now, tensor, n, nullptr);
            key_type const limit = criterion::key(static_cast<W>(selection::threshold(now)));
            device.write_mask(below_key<decltype(own), key_type>{own, limit, mask}, tensor.weights, n, counters, survey,
                              mask);
        };
    return made;
}

/// Whether a device makes the selections of a policy itself.
template <class Policy> consteval bool selects_on_device() {
    if constexpr (std::is_void_v<Policy>)
        return false;
    else
        return selects_largest<typename Policy::selection> || selects_in_groups<typename Policy::selection> ||
               selects_below<typename Policy::selection> || exchanges<typename Policy::selection>;
}

} // namespace espalier::prune
