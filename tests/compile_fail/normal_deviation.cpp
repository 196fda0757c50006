// SPDX-License-Identifier: Apache-2.0
// expect: initial::normal<Deviation> needs a finite number that is not negative
// A negative deviation.
#include <espalier/initial/normal.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using drawn = initial::normal<0.5>;
#else
using drawn = initial::normal<-0.5>;
#endif
using stack = sequence<input<16>, dense<8, drawn>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
