// SPDX-License-Identifier: Apache-2.0
// expect: a slice ends behind the last column of its input
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, slice<4, 4>>;
#else
using stack = sequence<input<8>, slice<4, 5>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
