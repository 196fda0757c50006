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

/// The selections of a plan on a device, for weights of type W. All pointers but those of the clock are device memory.
template <class Device, class W> struct device_plan {
    plan const* of = nullptr;
    std::uint64_t largest_key = 0;
    int rounds = 0; ///< surveys that find a threshold
    /// Adds the keys of a tensor to the survey.
    void (*look)(Device& device, clock const& now, W const* w, index_t n, mask_survey* survey) = nullptr;
    /// Writes the mask of a tensor once the threshold is known; `counters`: mask_counters(n).
    void (*write)(Device& device, clock const& now, W const* w, index_t n, index_t* counters, mask_survey* survey,
                  std::uint32_t* mask) = nullptr;
    /// Writes the mask of a tensor of which every group of rows keeps its own; null without groups.
    void (*write_groups)(Device& device, clock const& now, matrix_view<W const> w, mask_survey* survey,
                         std::uint32_t* mask) = nullptr;
};

/// That of a policy behind a weight map.
template <class Policy, class Map, class Device, class W> device_plan<Device, W> device_plan_of() {
    using selection = typename Policy::selection;
    using key = weight_key<typename Policy::criterion_type, op_of<Map>>;
    using key_type = decltype(std::declval<key const&>()(W()));
    device_plan<Device, W> made{.of = plan_of<Policy, Map>,
                                .largest_key = std::numeric_limits<key_type>::max(),
                                .rounds = mask_survey::rounds(std::numeric_limits<key_type>::digits)};
    made.look = [](Device& device, clock const& now, W const* w, index_t n, mask_survey* survey) {
        device.survey_keys(key{op_at<Map>(now)}, w, n, survey);
    };
    made.write = [](Device& device, clock const& now, W const* w, index_t n, index_t* counters, mask_survey* survey,
                    std::uint32_t* mask) { device.write_mask(key{op_at<Map>(now)}, w, n, counters, survey, mask); };
    if constexpr (selects_in_groups<selection>)
        made.write_groups = [](Device& device, clock const& now, matrix_view<W const> w, mask_survey* survey,
                               std::uint32_t* mask) {
            device.write_group_mask(key{op_at<Map>(now)}, group_pattern(selection::at(now)), w, survey, mask);
        };
    return made;
}

/// Whether a device makes the selections of a policy itself.
template <class Policy> consteval bool selects_on_device() {
    if constexpr (std::is_void_v<Policy>)
        return false;
    else
        return selects_largest<typename Policy::selection> || selects_in_groups<typename Policy::selection>;
}

} // namespace espalier::prune
