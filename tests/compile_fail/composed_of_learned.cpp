// SPDX-License-Identifier: Apache-2.0
// expect: at most one map of weight::composed is made of trained numbers
// expect c++: given_type<
// Both maps have trained numbers.
#include <espalier/weight/compander.hpp>
#include <espalier/weight/composed.hpp>
using namespace espalier;
using learned = weight::compander<weight::arctan, 0.1, 0.05, weight::learned<>>;
#ifdef ESPALIER_POSITIVE_TWIN
using outer = weight::compander<weight::tanh, 0.1, 0.05>;
#else
using outer = learned;
#endif
inline constexpr double rate = weight::composed<learned, outer>::scalar_rate;
