// SPDX-License-Identifier: Apache-2.0
// expect: a multi_sample inside gives several
// expect: layer<1>
// expect c++: given<3
// expect: put the multi_sample around it
// A layer with more rows out than in, where its rows must match those of others.
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, multi_sample<3, moe<gate::top_k<8, 2>, dense<4>>>>;
#else
using stack = sequence<input<16>, moe<gate::top_k<8, 2>, multi_sample<3, dense<4>>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
