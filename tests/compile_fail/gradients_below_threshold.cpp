// SPDX-License-Identifier: Apache-2.0
// expect: a threshold is one of weights, and the criterion of prune::policy sees gradients
// A gradient is compared with the threshold of a weight.
#include <espalier/prune/below.hpp>
#include <espalier/prune/by_gradient.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/policy.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using criterion = prune::by_magnitude;
#else
using criterion = prune::by_gradient;
#endif
inline constexpr bool global = prune::policy<criterion, prune::below<0.1>, 1.0, prune::frozen>::selection::global;
