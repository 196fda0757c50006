// SPDX-License-Identifier: Apache-2.0
// expect: the numbers of gate::local_search are out of range
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack =
    sequence<input<8>, moe<gate::local_search<gate::softmax<4>, gate::search{.first_iterations = 5}>, dense<4>>>;
#else
using stack =
    sequence<input<8>, moe<gate::local_search<gate::softmax<4>, gate::search{.first_iterations = 0}>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
