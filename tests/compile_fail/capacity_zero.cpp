// SPDX-License-Identifier: Apache-2.0
// expect: the factor of dispatch::capacity must be above 0
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::top_k<4, 2>, dense<4>, dispatch::capacity<1.25>>>;
#else
using stack = sequence<input<8>, moe<gate::top_k<4, 2>, dense<4>, dispatch::capacity<0.0>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
