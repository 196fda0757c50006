// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of weight/ranks.hpp; see core/library.hpp.
#pragma once

#include <espalier/weight/ranks.hpp>

namespace espalier::weight::detail {

inline operator_info const& layer_with(std::vector<operator_info> const& operators, std::string_view layer,
                                       std::string_view what, bool (*fits)(rank_info const&)) {
    std::string known;
    for (operator_info const& o : operators) {
        if (!fits(o.rank)) continue;
        if (o.layer == layer) return o;
        espalier::detail::add_to_list(known, o.layer);
    }
    espalier::detail::throw_data_error("layer \"", layer, "\" has no ", what,
                                       "; layers with one: ", (known.empty() ? "none" : known));
}

ESPALIER_LIBRARY operator_info const& ranked_layer(std::vector<operator_info> const& operators,
                                                   std::string_view layer) {
    return layer_with(operators, layer, "weight::low_rank", [](rank_info const& r) { return r.most > 0; });
}

ESPALIER_LIBRARY operator_info const& set_layer(std::vector<operator_info> const& operators, std::string_view layer) {
    return layer_with(operators, layer, "weight::low_rank whose rank is a schedule::runtime",
                      [](rank_info const& r) { return !r.name.empty(); });
}

ESPALIER_LIBRARY std::vector<double> importance_of(importance kind, std::vector<double> in, std::vector<double> out) {
    double first = 0.0, second = 0.0;
    for (std::size_t k = in.size(); k-- > 0;) {
        first = kind == importance::nested ? first + in[k] : in[k];
        second = kind == importance::nested ? second + out[k] : out[k];
        in[k] = std::sqrt(first) * std::sqrt(second);
    }
    return in;
}

ESPALIER_LIBRARY index_t kept_ranks(std::vector<double> const& importance, double threshold) {
    std::size_t kept = importance.size();
    while (kept > 0 && !(importance[kept - 1] >= threshold))
        --kept;
    return static_cast<index_t>(kept);
}

ESPALIER_LIBRARY void check_threshold(double threshold) {
    if (!(threshold >= 0.0) || !std::isfinite(threshold))
        espalier::detail::throw_data_error("shrink_ranks: the threshold is ", threshold,
                                           "; needed is a finite number that is not negative");
}

} // namespace espalier::weight::detail
