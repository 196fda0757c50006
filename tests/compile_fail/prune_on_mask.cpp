// SPDX-License-Identifier: Apache-2.0
// expect: a prune policy and a weight policy with a mask of its own both decide
// expect: at_layer<1>
// expect: fixed_mask
// A pruned layer with a mask of the user's.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/weight/fixed_mask.hpp>
using namespace espalier;
using half = prune::policy<prune::by_magnitude, prune::per_layer, 0.5, prune::hard>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, weight::fixed_mask>, dense<8, half>>;
#else
using stack = sequence<input<16>, dense<8, weight::fixed_mask, half>, dense<8>>;
#endif
[[maybe_unused]] constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
