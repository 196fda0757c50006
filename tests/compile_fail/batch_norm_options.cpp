// SPDX-License-Identifier: Apache-2.0
// expect: batch_norm needs a momentum in \[0, 1\] and a positive epsilon
// Numbers of batch normalisation outside their range.
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using normalised = batch_norm<batch_norm_options{.momentum = 0.2}>;
#else
using normalised = batch_norm<batch_norm_options{.momentum = 1.2}>;
#endif
using stack = sequence<input<16>, normalised, dense<8>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
