// SPDX-License-Identifier: Apache-2.0
// expect: activation::power<n> needs a whole exponent of at least 2
// A first power.
#include <espalier/activation/power.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using raised = activation::power<2>;
#else
using raised = activation::power<1>;
#endif
using stack = sequence<input<16>, dense<8, raised>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
