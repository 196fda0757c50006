// SPDX-License-Identifier: Apache-2.0
// expect: projection::box<low, high> has a lower bound above its upper one
// expect c++: from_policy<.*box<
// The bounds of a box the wrong way round.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/projection/box.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using bounded = projection::box<-1.0, 1.0>;
#else
using bounded = projection::box<1.0, -1.0>;
#endif
using stack = sequence<input<16>, dense<8, bounded>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
