// SPDX-License-Identifier: Apache-2.0
// expect: a number of a policy lies outside of its bounds
// expect: coefficient
// expect: l2<
// expect: -1
// A penalty that would reward large weights.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, penalty::l2<1.0>>>;
#else
using stack = sequence<input<16>, dense<8, penalty::l2<-1.0>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
