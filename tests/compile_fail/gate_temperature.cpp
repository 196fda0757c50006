// SPDX-License-Identifier: Apache-2.0
// expect: a number of a policy lies outside of its bounds
// expect: temperature<
// A temperature that falls to 0.
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/schedule/linear.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr schedule::linear falling{.from = 2.0, .to = 0.5, .steps = 100};
#else
constexpr schedule::linear falling{.from = 2.0, .to = 0.0, .steps = 100};
#endif
using chosen = gate::softmax<8, gate::temperature<falling>>;
inline constexpr int width = chosen::logits;
