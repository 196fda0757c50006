// SPDX-License-Identifier: Apache-2.0
// expect: multi_sample needs at least one sample
// expect: at_layer<2>
// expect c++: given<\(?(int\))?0
// expect nvcc: Samples=0
// A head that is run no times.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8>, multi_sample<1, dense<4>>>;
#else
using stack = sequence<input<16>, dense<8>, multi_sample<0, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
