// SPDX-License-Identifier: Apache-2.0
// expect: the scores of weight::score_mask have a map of their own
// expect: at_layer<1>
// expect: (in_layer<|Layer=).*dense<8,
// expect: (in_layer<|Layer=).*dense<7,
// Scores that are pruned, and scores with a second mask.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/score_mask.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr role acts = role::bias;
#else
constexpr role acts = role::score;
#endif
template <class Layer>
constexpr index_t width = sequence<input<16>, Layer>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths = width<dense<8, weight::score_mask<>, on<acts, prune::magnitude<0.5>>>> +
                                  width<dense<7, weight::score_mask<>, on<acts, weight::fixed_mask>>>;
