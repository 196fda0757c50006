// SPDX-License-Identifier: Apache-2.0
// expect: both factors of weight::low_rank_adapter would begin as zeros
// expect: at_layer<1>
// expect: zeros
// An adapter that no gradient would ever move.
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<4>, initial::uniform<-0.1, 0.1>>>;
#else
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<4>, initial::zeros>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
