// SPDX-License-Identifier: Apache-2.0
// expect: a layer of a by_sample has tensors, terms or taps
// expect: at_layer<0>
// A head of its own for every sample.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using rates = by_sample<elementwise<dropout::bernoulli<0.2>>, elementwise<dropout::bernoulli<0.5>>>;
#else
using rates = by_sample<dense<16>, dense<16>>;
#endif
using stack = sequence<input<16>, multi_sample<2, rates, dense<4>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
