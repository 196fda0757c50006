// SPDX-License-Identifier: Apache-2.0
// expect: acts on a tensor of which the layer reads the stored numbers
// expect: at_layer<1>
// expect: (in_layer<|Layer=).*batch_norm<
// expect: (in_layer<|Layer=).*dense<8,
// expect: (in_layer<|Layer=).*dense<7,
// expect: (in_layer<|Layer=).*dense<6
// expect c++: straight_through
// Rules that show the products a copy, on tensors that no product reads: of a batch_norm, a bias, the factors of an
// operator, and handed on.
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
template <class Rule> using half = prune::magnitude<0.5, prune::per_layer, Rule>;
#ifdef ESPALIER_POSITIVE_TWIN
using rule = prune::hard;
#else
using rule = prune::straight_through;
#endif
template <class Layer>
constexpr index_t width = sequence<input<2>, Layer>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths = width<batch_norm<batch_norm_options{}, on<role::scale, half<rule>>>> +
                                  width<dense<8, on<role::bias, half<rule>>, half<prune::straight_through>>> +
                                  width<dense<7, weight::low_rank<2>, on<role::factor, half<rule>>>> +
                                  width<everywhere<dense<6>, on<role::bias, half<rule>>>>;
