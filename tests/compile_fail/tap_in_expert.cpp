// SPDX-License-Identifier: Apache-2.0
// expect: a tap stands where every row of the batch passes once
// expect: put them before or behind it
// expect c++: given<\(?(int\))?1
// A tap inside an expert, which gets some of the rows.
#include <espalier/core/short_name.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
using namespace espalier;
using namespace espalier::literals;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, moe<gate::top_k<8, 2>, dense<4>>, tap<"mixed"_name>>;
#else
using stack = sequence<input<16>, moe<gate::top_k<8, 2>, sequence<dense<4>, tap<"mixed"_name>>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
