// SPDX-License-Identifier: Apache-2.0
// host only. Random search for the units of a network that are worth to be trained.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/search/random.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace espalier::search {

/// Layers that have one mask, and how many of their units stay.
struct masked_layers {
    std::vector<std::string> layers; ///< paths, "1"; more than one where their outputs are added to each other
    index_t kept = 0;
};

/// K = round((1 - s) H), the upper one of two, of H units at sparsity s: a number in a program's text stands for what
/// is written there. Throws data_error when s is not in [0, 1) or no unit is left.
index_t kept_units(double sparsity, index_t units);

/// Every layer that has a mask, each with a mask of its own and round((1 - sparsity) units) units. Throws data_error
/// when there is none, and as `kept_units` does.
std::vector<masked_layers> each_layer(std::vector<tensor_info> const& tensors, double sparsity);
/// Those of a type of network.
template <class Network> std::vector<masked_layers> each_layer(double sparsity) {
    static_assert(espalier::detail::check_network<Network>());
    return each_layer(Network::tensors(), sparsity);
}

namespace detail {

/// The masks of the layers of a group.
struct mask_group {
    std::vector<tensor_info const*> masks;
    index_t kept = 0;
};
/// Throws data_error and shape_error as `units` does.
std::vector<mask_group> mask_groups(std::vector<tensor_info> const& tensors, std::span<masked_layers const> groups);

/// Gives a network its masks back unless the search was done.
template <class Network> class kept_masks {
public:
    kept_masks(Network& net, std::vector<mask_group> const& groups) : net_(&net) {
        for (mask_group const& group : groups)
            for (tensor_info const* const mask : group.masks)
                before_.emplace_back(mask, espalier::detail::numbers_of(net, *mask));
    }
    kept_masks(kept_masks const&) = delete;
    kept_masks& operator=(kept_masks const&) = delete;
    ~kept_masks() {
        for (auto const& [mask, numbers] : before_)
            espalier::detail::set_numbers(*net_, *mask, numbers.data());
    }
    void drop() { before_.clear(); }

private:
    Network* net_;
    std::vector<std::pair<tensor_info const*, std::vector<typename Network::wide>>> before_;
};

} // namespace detail

/// Random search over masks of units (units::fixed_mask): every group of layers gets a set of `kept` of its units, all
/// sets equally likely, independent of the others and of other candidates. `score()` judges the network with the masks
/// that it has then: its loss at initialisation, say, as `training::judge` gives it. Less is better, the first of the
/// least wins, and the network has its masks in the end. Layers that are in no group keep theirs. (The baseline of
/// Farahani 2024, "Random search as a baseline for sparse neural network architecture search".)
///
///     training run{net, loss::cross_entropy{}, optimizer::adam{}};
///     search::units(net, search::each_layer<network_type>(0.75), {.budget = 200, .seed = 1},
///                   [&] { return run.judge(batch); });
///
/// A candidate costs a random number for each unit, the writing of its masks and one score: weights are neither copied
/// nor looked at, and nothing is allocated. Duplicates are possible where there are few sets.
///
/// Throws, with the masks as they were: data_error for no groups, a group without layers, a layer that has no mask or
/// is named twice, fewer than 1 or more than all units kept, and as `random` does; shape_error for layers of different
/// widths in a group; numerical_error when all scores are NaN; what `score` throws.
template <class Network, class Score>
found units(Network& net, std::span<masked_layers const> groups, options const& given, Score const& score) {
    static_assert(espalier::detail::check_network<Network>());
    using wide = typename Network::wide;
    std::vector<detail::mask_group> const masks = detail::mask_groups(Network::tensors(), groups);
    detail::check(given);
    index_t widest = 0;
    for (detail::mask_group const& group : masks)
        widest = group.masks[0]->columns > widest ? group.masks[0]->columns : widest;
    std::vector<wide> numbers(static_cast<std::size_t>(widest));
    detail::kept_masks<Network> before(net, masks);
    found const f = random(
        given,
        [&](random_site const& site) {
            std::uint32_t row = 0;
            for (detail::mask_group const& group : masks) {
                random_mask(site, row++, group.kept, array_view<wide>{numbers.data(), group.masks[0]->columns});
                for (tensor_info const* const mask : group.masks)
                    espalier::detail::set_numbers(net, *mask, numbers.data());
            }
        },
        score);
    before.drop();
    return f;
}

} // namespace espalier::search

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/search/detail/units.hpp>
#endif
