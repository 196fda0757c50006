// SPDX-License-Identifier: Apache-2.0
// host only. One mask for channels that several layers share.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/keep_flags.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace espalier::prune {

/// Normalisations whose outputs are added, as in the blocks of a residual network, have one set of channels: each
/// member has its own wish, and one mask serves all. With v_c the number of members that want channel c to go and p the
/// smallest number of channels that any of them wants to go, c goes when v_c >= i, for the largest i, at most the
/// number of members, with which at least p channels go (rule of the program of MaskSparsity). Where fewer than
/// `min_channels` would stay, those of fewest votes do, of equal ones those of lower index: wishes that differ may
/// condemn all channels between them, which that program does not look at. Members times channels operations. Throws
/// data_error without members, for more min_channels than there are, and shape_error for members of different lengths.
inline keep_flags vote(std::vector<keep_flags> const& members, index_t min_channels = 1) {
    if (members.empty()) espalier::detail::throw_data_error("prune::vote: there are no members");
    std::size_t const channels = members.front().size();
    std::size_t const least = detail::checked_count(min_channels, channels, "vote", "channels");
    std::vector<std::size_t> against(channels, 0);
    std::size_t fewest = channels;
    for (std::size_t m = 0; m < members.size(); ++m) {
        if (members[m].size() != channels)
            espalier::detail::throw_shape_error("prune::vote: member ", m, " has ", members[m].size(),
                                                " channels, and the first one ", channels);
        std::size_t wished = 0;
        for (std::size_t c = 0; c < channels; ++c)
            if (members[m][c] == 0) {
                ++against[c];
                ++wished;
            }
        fewest = std::min(fewest, wished);
    }
    auto const go = [&](std::size_t votes) {
        return static_cast<std::size_t>(
            std::count_if(against.begin(), against.end(), [&](std::size_t v) { return v >= votes; }));
    };
    std::size_t votes = members.size();
    while (votes > 1 && go(votes) < fewest)
        --votes;
    if (channels - go(votes) < least) {
        std::vector<double> support(channels);
        for (std::size_t c = 0; c < channels; ++c)
            support[c] = -static_cast<double>(against[c]);
        return detail::keep_largest_of(support, least);
    }
    keep_flags keep(channels);
    for (std::size_t c = 0; c < channels; ++c)
        keep[c] = against[c] < votes;
    return keep;
}

} // namespace espalier::prune
