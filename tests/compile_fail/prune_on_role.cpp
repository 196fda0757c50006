// SPDX-License-Identifier: Apache-2.0
// expect: chooses the tensors of a penalty or a transform
// A pruning policy for biases: it would prune the kernel.
#include <espalier/core/policy.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/magnitude.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using layer = dense<8, on<role::bias, penalty::l2<0.1>>, prune::magnitude<0.5>>;
#else
using layer = dense<8, on<role::bias, prune::magnitude<0.5>>>;
#endif
using stack = sequence<input<16>, layer>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
