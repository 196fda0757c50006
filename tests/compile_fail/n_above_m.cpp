// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m
// expect: 3
// Three of two weights cannot be kept.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/policy.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using selection = prune::n_m<2, 3>;
#else
using selection = prune::n_m<3, 2>;
#endif
using stack = sequence<input<16>, dense<8, prune::policy<prune::by_magnitude, selection, 0.5, prune::hard>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
