// SPDX-License-Identifier: Apache-2.0
// expect: something in a by_sample is not a layer
// A policy where a layer of its own is meant.
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
using rates = by_sample<dropout::bernoulli<0.2>, dropout::bernoulli<0.5>>;
#endif
using stack = sequence<input<16>, multi_sample<2, rates, dense<4>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
