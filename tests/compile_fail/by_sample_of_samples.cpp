// SPDX-License-Identifier: Apache-2.0
// expect: a layer of a by_sample or the inside of a residual gives one row for each row
// expect: at_layer<0>
// A layer with more rows out than in, whose turn comes only now and then.
#include <espalier/activation/tanh.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
using bend = elementwise<activation::tanh>;
#ifdef ESPALIER_POSITIVE_TWIN
using turns = by_sample<bend, bend>;
#else
using turns = by_sample<multi_sample<2, bend>, bend>;
#endif
using stack = sequence<input<16>, multi_sample<2, turns, dense<4>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
