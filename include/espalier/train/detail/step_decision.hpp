// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of train/step_decision.hpp; see core/library.hpp.
#pragma once

#include <espalier/train/step_decision.hpp>

#include <espalier/core/context.hpp>
#include <espalier/core/text.hpp>

namespace espalier::detail {

ESPALIER_LIBRARY void decide(step_decision const& decision, clock const& now, std::uint64_t seed,
                             std::vector<operator_info> const& operators, kept_time& decided) {
    decided.set(now);
    decision(decided, common_site(seed, "step decision", now.step, 0));
    for (operator_info const& o : operators) {
        if (o.rank.name.empty()) continue;
        index_t const rank = o.rank.at(now), wanted = o.rank.at(decided.now());
        if (wanted > rank)
            throw_data_error("training: rank ", wanted, " was decided for layer ", o.layer, " at step ", now.step,
                             ", and its rank is ", rank, "; a step may have less, not more");
    }
}

} // namespace espalier::detail
