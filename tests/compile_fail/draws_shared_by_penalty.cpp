// SPDX-License-Identifier: Apache-2.0
// expect: dropout::shared_by stands around a dropout
// A policy of another axis in the place of the dropout.
#include <espalier/core/rows.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using together = dropout::shared_by<&rows::group, dropout::bernoulli<0.1>>;
#else
using together = dropout::shared_by<&rows::group, penalty::l2<0.1>>;
#endif
using stack = sequence<input<16>, dense<8, together>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
