// SPDX-License-Identifier: Apache-2.0
// expect: dispatch::automatic<low, high> needs 0 <= low <= high <= 1
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::top_k<4, 2>, dense<4>, dispatch::automatic<0.5, 0.6>>>;
#else
using stack = sequence<input<8>, moe<gate::top_k<4, 2>, dense<4>, dispatch::automatic<0.7, 0.6>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
