// SPDX-License-Identifier: Apache-2.0
// expect: the share of prune::exchange must lie in \[0, 1\]
// expect: given<
// More is to be exchanged than there is, and a schedule that begins there.
#include <espalier/prune/exchange.hpp>
#include <espalier/schedule/cosine.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr double share = 0.3, first = 0.3;
#else
constexpr double share = 1.3, first = 1.3;
#endif
constexpr schedule::cosine falling{.from = first, .to = 0.0, .steps = 100};
inline constexpr bool global = prune::exchange<share>::global || prune::exchange<falling>::global;
