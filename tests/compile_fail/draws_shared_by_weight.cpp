// SPDX-License-Identifier: Apache-2.0
// expect: dropout::shared_by needs a tag of whole numbers
// expect: bernoulli
// Rows of equal weight, which is no whole number.
#include <espalier/core/rows.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, dropout::shared_by<&rows::sample, dropout::bernoulli<0.5>>>>;
#else
using stack = sequence<input<16>, dense<8, dropout::shared_by<&rows::weight, dropout::bernoulli<0.5>>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
