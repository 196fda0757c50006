// SPDX-License-Identifier: Apache-2.0
// expect: dispatch::chunked<rows> needs room for at least 1 row for each row of the batch
// expect c++: given<\(?(int\))?0
// expect nvcc: Rows=0
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = dispatch::chunked<1>;
#else
using chosen = dispatch::chunked<0>;
#endif
using stack = sequence<input<16>, moe<gate::softmax<8>, dense<4>, chosen>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
