// SPDX-License-Identifier: Apache-2.0
// expect: two policies stand on an axis that has room for one
// expect: at_layer<1>
// expect c++: on_axis<.*prune>
// expect nvcc: Axis=espalier::axis::prune
// expect: a policy acts on no tensor of its layer
// expect: (in_layer<|Layer=).*embedding<
// expect: (in_layer<|Layer=).*batch_norm<.*low_rank
// Two pruning policies for one role, where two for two are fine; a mask, and an operator, for a layer without a kernel.
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using pruned = dense<8, prune::magnitude<0.5>, on<role::bias, prune::magnitude<0.25>>>;
using table = embedding<vocabulary<5>, 4, on<role::embedding, weight::fixed_mask>>;
using normalised = batch_norm<batch_norm_options{}, on<role::scale, weight::fixed_mask>>;
#else
using pruned = dense<8, prune::magnitude<0.5>, on<role::kernel, prune::magnitude<0.25>>>;
using table = embedding<vocabulary<5>, 4, weight::fixed_mask>;
using normalised = batch_norm<batch_norm_options{}, weight::low_rank<2>>;
#endif
template <class Layer>
constexpr index_t width = sequence<input<1>, Layer>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths = width<pruned> + width<table> + width<normalised>;
