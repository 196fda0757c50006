// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m_stages begin one after the other
// The second stage begins before the first.
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::stages<prune::stage{0, 7, 8}, prune::stage{25, 4, 8}> when{};
#else
inline constexpr prune::stages<prune::stage{25, 7, 8}, prune::stage{0, 4, 8}> when{};
#endif
inline constexpr group_pattern first = prune::n_m_stages<when>::at(espalier::clock{});
