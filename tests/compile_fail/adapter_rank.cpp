// SPDX-License-Identifier: Apache-2.0
// expect: the rank of weight::low_rank_adapter must lie between 1 and the smaller width of its layer
// expect: at_layer<2>
// expect: low_rank_adapter<9
// expect: 8
// An adapter that is larger than the kernel it stands beside.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<32, weight::low_rank_adapter<16>>, dense<8, weight::low_rank_adapter<8>>>;
#else
using stack = sequence<input<16>, dense<32, weight::low_rank_adapter<16>>, dense<8, weight::low_rank_adapter<9>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
