// SPDX-License-Identifier: Apache-2.0
// expect: a multi_sample inside gives several
// expect: put the multi_sample around it
// A layer with more rows out than in, where its rows must match those of others.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, multi_sample<3, residual<dense<16>>>>;
#else
using stack = sequence<input<16>, residual<multi_sample<3, dense<16>>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
