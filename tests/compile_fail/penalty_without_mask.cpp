// SPDX-License-Identifier: Apache-2.0
// expect: a penalty on what a mask leaves out acts on a tensor that has no mask
// expect: at_layer<1>
// expect: (in_layer<|Layer=).*dense<8,
// expect: (in_layer<|Layer=).*dense<7, .*magnitude
// expect: (in_layer<|Layer=).*embedding<
// expect c++: where_pruned<
// expect c++: on_axis<.*penalty>
// Penalties on what a mask leaves out, where there is none: no mask at all, one of another tensor, an embedding.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/weight/fixed_mask.hpp>
using namespace espalier;
using decay = penalty::where_pruned<penalty::l2<0.1>>;
template <class... Layers>
constexpr index_t width = sequence<input<1>, Layers...>::template bind<shape{}, type_list<>>::output.size();
#ifdef ESPALIER_POSITIVE_TWIN
// One that is handed on acts where there is a mask, and a mask may be handed on too.
inline constexpr index_t widths =
    width<dense<8, weight::fixed_mask, decay>> + width<dense<7, prune::magnitude<0.5>, on<role::kernel, decay>>> +
    width<everywhere<sequence<embedding<vocabulary<5>, 4>, dense<3, prune::magnitude<0.5>>>, decay>> +
    width<everywhere<dense<3, decay>, prune::magnitude<0.5>>>;
#else
inline constexpr index_t widths = width<dense<8, decay>> +
                                  width<dense<7, prune::magnitude<0.5>, on<role::bias, decay>>> +
                                  width<embedding<vocabulary<5>, 4, decay>>;
#endif
