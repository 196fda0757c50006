// SPDX-License-Identifier: Apache-2.0
// expect: branches that are added must be equally wide
// expect: at_layer<1>
// expect c++: given_width<\(?(int\))?9
// expect c++: needed_width<\(?(int\))?8
// expect nvcc: dense<8>, espalier::dense<9>
// Branches of different widths cannot be added.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, parallel<merge::add, dense<8>, dense<8>>, dense<10>>;
#else
using stack = sequence<input<16>, parallel<merge::add, dense<8>, dense<9>>, dense<10>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
