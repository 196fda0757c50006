// SPDX-License-Identifier: Apache-2.0
// What a selection of masks in device memory works on: what the host asks for, and what the device has found out.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// Of every `group` consecutive rows of a column `kept` stay: 2:4 is {2, 4}.
struct group_pattern {
    int kept = 1;
    int group = 1;

    static constexpr int largest_group = 256;

    constexpr bool possible() const { return kept >= 1 && kept <= group && group <= largest_group; }
    /// The share that is left out.
    constexpr double sparsity() const { return 1.0 - static_cast<double>(kept) / group; }
    friend constexpr bool operator==(group_pattern const&, group_pattern const&) = default;
};

/// What the host asks of a selection among `weights` weights, of one tensor or of several together.
struct mask_request {
    index_t weights = 0;
    index_t keep = 0;     ///< how many stay, as the schedule has it
    bool revives = false; ///< more may stay than do now
    bool by_key = false;  ///< those stay whose key is not 0, however many that are

    /// Of so many that stay now. What was pruned before, in a checkpoint say, comes back only where it may.
    ESPALIER_FN constexpr index_t kept_of(index_t now) const { return revives || keep < now ? keep : now; }
};

/// Of the `count` weights whose keys are first ... last the `keep` most valuable ones are kept, of those with larger
/// keys all and of those with smaller ones none. In device memory; the host neither reads nor writes it.
struct mask_survey {
    static constexpr int bin_bits = 11, bins = 1 << bin_bits;
    using counter = unsigned long long; // what a GPU adds up

    mask_request request{};
    std::uint64_t first = 0, last = 0;
    index_t count = 0, keep = 0;
    index_t passed = 0; ///< weights in the range of the tensors whose masks are written
    counter kept = 0;   ///< by the masks as they are
    /// Keys of the range by their place in it; what is not in a later bin is in the first.
    counter histogram[bins] = {};

    /// How many weights are to stay, once it is known what the masks keep as they are.
    ESPALIER_FN constexpr index_t kept_now() const { return request.kept_of(static_cast<index_t>(kept)); }
    /// Whether the masks keep fewer weights than are asked for, and none may come back.
    ESPALIER_FN constexpr bool keeps_fewer() const { return kept_now() != request.keep; }
    /// Whether the first `keep` weights of the range are those to keep.
    ESPALIER_FN constexpr bool in_order() const { return first == last || count == keep; }
    /// Whether only some of the weights of the range are kept.
    ESPALIER_FN constexpr bool splits() const { return count != keep; }
    /// By how many bits the place of a key in the range is shifted to be the number of its bin.
    ESPALIER_FN static constexpr int shift(std::uint64_t width) {
        int bits = 0;
        while (bits < 64 && width >> bits != 0)
            ++bits;
        return bits > bin_bits ? bits - bin_bits : 0;
    }
    /// Surveys that narrow any range of keys of so many bits down to one key.
    static constexpr int rounds(int bits) { return (bits + bin_bits - 1) / bin_bits; }
};

/// Weights whose place among others is counted together, on one tile: whole words of a mask.
inline constexpr index_t mask_chunk = 1024;

/// Counters that a tensor of so many weights needs while its mask is written.
constexpr index_t mask_counters(index_t weights) {
    return (weights + mask_chunk - 1) / mask_chunk;
}

} // namespace espalier
