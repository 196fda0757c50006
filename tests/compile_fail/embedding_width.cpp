// SPDX-License-Identifier: Apache-2.0
// expect: at_layer<1>
// expect: an embedding reads one id a column, so its input must be as wide as its vocabulary
// expect c++: given<.{0,30}3
// expect c++: needed<.{0,30}2
// An embedding reads one id a column.
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<2>, embedding<vocabulary<5, 7>, 3>>;
#else
using stack = sequence<input<3>, embedding<vocabulary<5, 7>, 3>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
