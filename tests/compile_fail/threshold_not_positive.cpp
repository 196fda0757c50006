// SPDX-License-Identifier: Apache-2.0
// expect: the threshold of prune::below must be positive
// expect: given<
// A threshold below which there is nothing, and a schedule that ends at one.
#include <espalier/prune/below.hpp>
#include <espalier/schedule/linear.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr double threshold = 2e-3, last = 1e-4;
#else
constexpr double threshold = 0.0, last = 0.0;
#endif
constexpr schedule::linear narrowing{.from = 2e-3, .to = last, .steps = 100};
inline constexpr bool global = prune::below<threshold>::global || prune::below<narrowing>::global;
