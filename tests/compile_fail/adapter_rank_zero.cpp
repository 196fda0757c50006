// SPDX-License-Identifier: Apache-2.0
// expect: the rank of weight::low_rank_adapter must lie between 1 and the smaller width of its layer
// expect: at_layer<1>
// expect: low_rank_adapter<0
// An adapter without columns.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<1>>>;
#else
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<0>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
