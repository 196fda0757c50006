// SPDX-License-Identifier: Apache-2.0
// expect: rate of a dropout must
// expect: bernoulli<\(?1\.0*(e\+0+)?\)?>
// A rate of 1 would leave nothing to scale: the bound itself is refused.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, dropout::bernoulli<0.5>>>;
#else
using stack = sequence<input<16>, dense<8, dropout::bernoulli<1.0>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
