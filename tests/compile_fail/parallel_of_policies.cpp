// SPDX-License-Identifier: Apache-2.0
// expect: something in a parallel is not a layer
// A policy where a branch is meant.
#include <espalier/activation/relu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using branches = parallel<merge::add, dense<16>, elementwise<activation::relu>>;
#else
using branches = parallel<merge::add, dense<16>, activation::relu>;
#endif
using stack = sequence<input<16>, branches, dense<4>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
