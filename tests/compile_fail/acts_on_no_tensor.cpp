// SPDX-License-Identifier: Apache-2.0
// expect: a policy acts on no tensor of its layer
// expect: at_layer<1>
// expect: (in_layer<|Layer=).*dense<8,
// expect: (in_layer<|Layer=).*dense<7, .*no_bias
// expect: (in_layer<|Layer=).*dense<6, .*low_rank
// expect: (in_layer<|Layer=).*batch_norm<
// expect: (in_layer<|Layer=).*embedding<
// expect: (in_layer<|Layer=).*moe<.*hash
// expect: (in_layer<|Layer=).*multi_gate<
// Penalties and transforms of a layer's list for tensors that the layer does not have.
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/bias.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
using decay = penalty::l2<0.1>;
using clip = transform::clip_value<1.0>;
template <class Layer>
constexpr index_t width = sequence<input<2>, Layer>::template bind<shape{}, type_list<>>::output.size();
#ifdef ESPALIER_POSITIVE_TWIN
using by_score = gate::local_search<gate::softmax<2>>;
inline constexpr index_t widths =
    width<dense<8, on<role::bias, decay>>> + width<dense<7, no_bias, on<role::kernel, decay>>> +
    width<dense<6, weight::low_rank<2>, on<role::factor, decay>>> +
    width<batch_norm<batch_norm_options{}, on<role::scale, decay>, clip>> +
    width<embedding<vocabulary<5, 7>, 4, on<role::embedding, clip>>> +
    width<moe<gate::softmax<2>, dense<4>, on<role::gate, clip>>> +
    width<multi_gate<gates<gate::softmax<2>, by_score>, dense<4>, on<role::score, decay>>>;
#else
inline constexpr index_t widths =
    width<dense<8, on<role::scale, decay>>> + width<dense<7, no_bias, on<role::bias, decay>>> +
    width<dense<6, weight::low_rank<2>, on<role::kernel, decay>>> + width<batch_norm<batch_norm_options{}, decay>> +
    width<embedding<vocabulary<5, 7>, 4, on<role::kernel, clip>>> + width<moe<gate::hash<2, 9>, dense<4>, decay>> +
    width<multi_gate<gates<gate::softmax<2>, gate::softmax<2>>, dense<4>, on<role::score, decay>>>;
#endif
