// SPDX-License-Identifier: Apache-2.0
// expect: on<role, ...> chooses the tensors of a penalty, a transform, a projection, a weight map or a prune policy
// expect: low_rank<
// An operator for biases: it takes the place of the layer's kernel.
#include <espalier/core/policy.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using layer =
    dense<8, weight::low_rank<2>, on<role::factor, weight::fixed_mask>, on<role::bias, prune::magnitude<0.5>>>;
#else
using layer = dense<8, on<role::bias, weight::low_rank<2>>>;
#endif
using stack = sequence<input<16>, layer>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
