// SPDX-License-Identifier: Apache-2.0
// expect: gate::top_k<experts, k> needs 1 <= k <= experts
// expect c++: given<\(?(int\))?9
// expect c++: needed<\(?(int\))?8
// expect nvcc: top_k<8, 9
// More winners than experts.
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, moe<gate::top_k<8, 8>, dense<4>>>;
#else
using stack = sequence<input<16>, moe<gate::top_k<8, 9>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
