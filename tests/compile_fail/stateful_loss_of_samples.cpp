// SPDX-License-Identifier: Apache-2.0
// expect: the loss remembers something of every sample, and a multi_sample of the stack gives several
// A loss with state that only knows one output of a row.
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>
#include <string_view>
using namespace espalier;
struct remembering {
    static constexpr std::string_view name = "remembering";
    static constexpr bool per_sample_state = true;
    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const&, row<Group, T, N> const& z, loss::row_target<Group, T, N> const&,
                           row<Group, T, N>* dz, row<Group, T, N>* state) const {
        if (dz) *dz = z;
        if (state) *state = z;
        return z.v[0];
    }
};
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = loss::early_learning;
#else
using chosen = remembering;
#endif
using stack = sequence<input<16>, multi_sample<2, elementwise<dropout::bernoulli<0.5>>, dense<4>>>;
void train(network<stack, device::cpu, float>& net) {
    training run(net, chosen{}, optimizer::sgd{}, 8);
}
