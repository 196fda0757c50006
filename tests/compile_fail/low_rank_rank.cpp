// SPDX-License-Identifier: Apache-2.0
// expect: the rank of weight::low_rank must lie between 0 and its largest rank
// A rank above the largest one.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using operation = weight::low_rank<4, 0>;
#else
using operation = weight::low_rank<4, 5>;
#endif
using stack = sequence<input<16>, dense<8, operation>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
