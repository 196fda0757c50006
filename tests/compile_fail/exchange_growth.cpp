// SPDX-License-Identifier: Apache-2.0
// expect: what grows in prune::exchange is chosen by a criterion
// expect: given_type<
// What comes back is chosen by a selection.
#include <espalier/prune/by_moment.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/global.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using growth = prune::by_moment;
#else
using growth = prune::global;
#endif
inline constexpr bool global = prune::exchange<0.3, growth>::global;
