// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of train/rates.hpp; see core/library.hpp.
#pragma once

#include <espalier/train/rates.hpp>

#include <espalier/core/text.hpp>

#include <algorithm>
#include <cmath>

namespace espalier {

ESPALIER_LIBRARY bool rate_rule::matches(tensor_info const& t) const {
    return t.name.starts_with(path) && (group.empty() || group == t.group) &&
           (!tensor_role || *tensor_role == t.tensor_role);
}

namespace detail {

inline void check_rule(std::vector<tensor_info> const& tensors, rate_rule const& rule) {
    bool matches = false;
    for (tensor_info const& t : tensors)
        matches = matches || (t.trained && rule.matches(t));
    std::string const what =
        text_of("training: the rate rule for path \"", rule.path, "\", group \"", rule.group, "\" and role ",
                rule.tensor_role ? std::string(role_name(*rule.tensor_role)) : "any");
    if (!matches) throw_data_error(what, " matches no trained tensor of the network");
    for (double factor : {rule.learning_rate, rule.decay})
        if (!(factor >= 0.0 && std::isfinite(factor)))
            throw_data_error(what, " has the factor ", factor, "; needed are finite numbers of at least 0");
}

inline bool frozen(tensor_info const& t, std::vector<rate_rule> const& rules) {
    return std::any_of(rules.begin(), rules.end(),
                       [&](rate_rule const& rule) { return rule.frozen && rule.matches(t); });
}

ESPALIER_LIBRARY std::vector<tensor_rates> rates_by_tensor(std::vector<tensor_info> const& tensors,
                                                           std::vector<rate_rule> const& rules) {
    for (rate_rule const& rule : rules)
        check_rule(tensors, rule);
    std::vector<tensor_rates> rates;
    for (tensor_info const& t : tensors) {
        if (!t.trained) continue;
        tensor_rates r = t.rates;
        // What its map is made of stays with a tensor that stays.
        if (t.tensor_role == role::scalar) r.frozen = frozen(tensors[static_cast<std::size_t>(t.of)], rules);
        for (rate_rule const& rule : rules)
            if (rule.matches(t)) {
                r.learning_rate *= rule.learning_rate;
                r.decay *= rule.decay;
                r.frozen = r.frozen || rule.frozen;
            }
        rates.push_back(r);
    }
    return rates;
}

} // namespace detail

} // namespace espalier
