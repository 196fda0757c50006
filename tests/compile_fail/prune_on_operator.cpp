// SPDX-License-Identifier: Apache-2.0
// expect: a layer whose product is a weight operator has no kernel to prune
// expect: at_layer<1>
// expect: low_rank<
// A pruned layer whose kernel is a low rank operator.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
using two_of_four = prune::policy<prune::by_magnitude, prune::n_m<2, 4>, 0.5, prune::hard>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, weight::low_rank<4>>, dense<8, two_of_four>>;
#else
using stack = sequence<input<16>, dense<8, weight::low_rank<4>, two_of_four>, dense<8>>;
#endif
[[maybe_unused]] constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
