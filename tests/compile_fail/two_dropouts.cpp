// SPDX-License-Identifier: Apache-2.0
// expect: two policies stand on an axis that has room for one
// expect: at_layer<2>
// expect c++: on_axis<.*dropout>
// expect c++: given<\(?(int\))?2
// expect nvcc: Axis=espalier::axis::dropout
// Two dropouts in one layer.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8>, dense<8, dropout::bernoulli<0.5>>>;
#else
using stack = sequence<input<16>, dense<8>, dense<8, dropout::bernoulli<0.5>, dropout::drop_path<0.1>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
