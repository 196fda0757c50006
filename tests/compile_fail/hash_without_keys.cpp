// SPDX-License-Identifier: Apache-2.0
// expect: gate::hash<experts, keys> needs at least one key
#include <espalier/gate/hash.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::hash<4, 100>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::hash<4, 0>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
