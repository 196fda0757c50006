// SPDX-License-Identifier: Apache-2.0
// expect: the segments of a dropout must fill the layer's output
// expect: at_layer<1>
// expect: drop_segment<3
// expect c++: given_width<8>
// expect nvcc: dense<8
// Three columns that decide together, and a layer of eight.
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, dropout::drop_segment<4, 0.5>>>;
#else
using stack = sequence<input<16>, dense<8, dropout::drop_segment<3, 0.5>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
