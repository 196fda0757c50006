// SPDX-License-Identifier: Apache-2.0
// expect: two policies stand on an axis that has room for one
// expect: at_layer<1>
// expect c++: on_axis<.*prune>
// expect c++: given<\(?(int\))?2
// expect nvcc: Axis=espalier::axis::prune
// Two pruning policies in one layer.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
using namespace espalier;
using half = prune::policy<prune::by_magnitude, prune::per_layer, 0.5, prune::hard>;
using two_of_four = prune::policy<prune::by_magnitude, prune::n_m<2, 4>, 0.5, prune::hard>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, half>, dense<8, two_of_four>>;
#else
using stack = sequence<input<16>, dense<8, half, two_of_four>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
