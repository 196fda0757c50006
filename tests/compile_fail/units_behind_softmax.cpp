// SPDX-License-Identifier: Apache-2.0
// expect: dropout, masks of units and activation penalties do not act behind a row-wise activation in its layer
// expect: at_layer<1>
// expect: softmax
// A mask over the outputs of a softmax.
#include <espalier/activation/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/units/fixed_mask.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, activation::softmax>, elementwise<units::fixed_mask>>;
#else
using stack = sequence<input<16>, dense<8, activation::softmax, units::fixed_mask>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
