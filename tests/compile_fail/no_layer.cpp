// SPDX-License-Identifier: Apache-2.0
// expect: what stands in the place of a layer is none: it lacks a .name. or .output
// expect c++: at_layer<2>.*given_type<.*relu
// expect: in_layer<.*parallel<.*merge::add
// expect: in_layer<.*by_sample<
// expect: in_layer<.*moe<.*softmax<4>
// expect: in_layer<.*moe<.*top_k<3, ?2>
// expect: in_layer<.*multi_gate<
// expect: in_layer<.*everywhere<
// expect c++: given_type<.*dense_of_mine
// expect nvcc: dense_of_mine
// expect: the width of the layer's input is unknown
// A policy where a layer is expected, in everything that is made of layers; and whole stacks that are none.
#include <espalier/activation/relu.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/penalty/l2.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using relu = elementwise<activation::relu>;
using lone = sequence<input<16>, dense<4>>;
struct dense_of_mine : sequence<input<16>, dense<4>> {};
#else
using relu = activation::relu;
using lone = residual<dense<4>>;
struct dense_of_mine {};
#endif
using in = input<16>;
using two = gates<gate::softmax<2>, gate::softmax<2>>;
template <class... Stacks> constexpr index_t width = (0 + ... + bound<Stacks>::output.size());
inline constexpr index_t widths =
    width<sequence<in, dense<8>, relu>, sequence<in, parallel<merge::add, dense<16>, relu>>,
          sequence<in, multi_sample<2, by_sample<relu>, dense<4>>>, sequence<in, moe<gate::softmax<4>, relu>>,
          sequence<in, moe<gate::top_k<3, 2>, experts<dense<16>, relu, dense<16>>>>,
          sequence<in, multi_gate<two, relu>>, sequence<in, everywhere<relu, penalty::l2<0.1>>>, dense_of_mine, lone>;
