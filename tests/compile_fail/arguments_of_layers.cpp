// SPDX-License-Identifier: Apache-2.0
// expect: the first argument of parallel says what becomes of the branches' outputs
// expect: the first argument of multi_gate is a list of gates
// expect: what stands in the place of a gate is none
// expect: the first argument of embedding says how many ids each column has
// expect: at_layer<1>
// Layers whose first argument is of another kind: branches without a merge, one gate for a list of them, a list for
// one, a number of ids for a vocabulary.
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using joined = parallel<merge::concatenate, dense<4>, dense<4>>;
using tasks = multi_gate<gates<gate::softmax<2>, gate::softmax<2>>, dense<4>>;
using mixed = moe<gate::softmax<2>, dense<4>>;
using looked_up = embedding<vocabulary<5, 7>, 4>;
#else
using joined = parallel<dense<4>, dense<4>>;
using tasks = multi_gate<gate::softmax<2>, dense<4>>;
using mixed = moe<gates<gate::softmax<2>, gate::softmax<2>>, dense<4>>;
using looked_up = embedding<std::integral_constant<int, 5>, 4>;
#endif
template <class Layer>
constexpr index_t width = sequence<input<2>, Layer>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths = width<joined> + width<tasks> + width<mixed> + width<looked_up>;
