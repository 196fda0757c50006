// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m_stages needs a list of stages
// A number is no list.
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::stepwise when{.kept = 1, .group = 8, .steps = 100};
#else
inline constexpr double when = 0.5;
#endif
inline constexpr group_pattern first = prune::n_m_stages<when>::at(espalier::clock{});
