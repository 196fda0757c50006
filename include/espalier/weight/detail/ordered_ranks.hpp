// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of weight/ordered_ranks.hpp; see core/library.hpp.
#pragma once

#include <espalier/weight/ordered_ranks.hpp>

#include <espalier/core/text.hpp>

#include <algorithm>
#include <cstddef>

namespace espalier::weight {

ESPALIER_LIBRARY ordered_ranks::ordered_ranks(std::vector<operator_info> const& operators, rank_draw draws)
    : draws_(draws) {
    index_t pairs = 0;
    for (operator_info const& o : operators) {
        if (o.rank.name.empty()) continue;
        bool const known =
            std::any_of(layers_.begin(), layers_.end(), [&](layer const& other) { return other.name == o.rank.name; });
        if (known) continue;
        layers_.push_back({o.rank.name, o.rank.at, 0});
        pairs += o.rank.most;
    }
    if (layers_.empty())
        espalier::detail::throw_data_error("ordered_ranks: no layer of the network has weight::low_rank with a rank "
                                           "that is a schedule::runtime");
    order_.resize(static_cast<std::size_t>(pairs));
}

ESPALIER_LIBRARY void ordered_ranks::operator()(kept_time& now, random_site const& bits) {
    index_t pairs = 0;
    for (layer& l : layers_)
        pairs += l.rank = l.at(now.now());
    if (pairs == 0) return;
    if (draws_ == rank_draw::every_layer) {
        std::uint32_t place = 0;
        for (layer const& l : layers_) {
            bits8 const drawn = draw(bits, place++, 0);
            if (l.rank > 0)
                now.set(l.name, 1.0 + below(static_cast<std::uint32_t>(l.rank), drawn.word[0], drawn.word[1]));
        }
        return;
    }
    auto const behind = static_cast<index_t>(now.now().step - now.now().epoch_begin);
    index_t const place = behind % pairs;
    random_site first = bits; // of the step with which this order began
    first.step = static_cast<std::uint32_t>(now.now().step - static_cast<std::uint64_t>(place));
    if (ordered_ != pairs || !(ordered_at_ == first)) {
        random_permutation(first, array_view<std::int64_t>{order_.data(), pairs});
        ordered_ = pairs;
        ordered_at_ = first;
    }
    index_t pair = order_[static_cast<std::size_t>(place)];
    for (layer const& l : layers_) {
        if (pair < l.rank) return now.set(l.name, static_cast<double>(pair + 1));
        pair -= l.rank;
    }
}

} // namespace espalier::weight
