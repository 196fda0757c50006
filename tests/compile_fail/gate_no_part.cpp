// SPDX-License-Identifier: Apache-2.0
// expect: something in a gate's list is not a part of a gate
// expect: l2
// A policy of a layer where a gate expects a part.
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, moe<gate::softmax<4, gate::z_loss<1e-3>>, dense<4>, penalty::l2<1e-3>>>;
#else
using stack = sequence<input<16>, moe<gate::softmax<4, gate::z_loss<1e-3>, penalty::l2<1e-3>>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
