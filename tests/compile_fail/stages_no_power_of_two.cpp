// SPDX-License-Identifier: Apache-2.0
// expect: prune::stepwise halves what stays
// 36 / 12 is 3: no halving leads there.
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::stepwise when{.kept = 9, .group = 36, .steps = 100};
#else
inline constexpr prune::stepwise when{.kept = 12, .group = 36, .steps = 100};
#endif
inline constexpr group_pattern first = prune::n_m_stages<when>::at(espalier::clock{});
