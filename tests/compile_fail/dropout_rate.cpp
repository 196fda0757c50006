// SPDX-License-Identifier: Apache-2.0
// expect: rate of a dropout must
// expect: 1\.5
// expect: bernoulli
// A rate that is no probability.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, dropout::bernoulli<0.5>>>;
#else
using stack = sequence<input<16>, dense<8, dropout::bernoulli<1.5>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
