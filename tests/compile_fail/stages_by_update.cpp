// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m_stages are counted in steps or epochs
// Updates are counted for each tensor, masks are due for all.
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::stepwise when{.kept = 1, .group = 8, .steps = 100, .unit = schedule::time_unit::epoch};
#else
inline constexpr prune::stepwise when{.kept = 1, .group = 8, .steps = 100, .unit = schedule::time_unit::update};
#endif
inline constexpr group_pattern first = prune::n_m_stages<when>::at(espalier::clock{});
