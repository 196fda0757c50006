// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m_stages needs at least one stage
// 1:64 in four stages begins with groups of 512.
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::geometric when{.kept = 1, .group = 32, .steps = 100};
#else
inline constexpr prune::geometric when{.kept = 1, .group = 64, .steps = 100};
#endif
inline constexpr group_pattern first = prune::n_m_stages<when>::at(espalier::clock{});
