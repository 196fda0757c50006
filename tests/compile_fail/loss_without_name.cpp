// SPDX-License-Identifier: Apache-2.0
// expect: a loss needs `static constexpr std::string_view name`
// expect: given_type<.*my_loss
// nvcc: skip training is host code
// A loss that the history cannot name.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
using namespace espalier;
using stack = sequence<input<4>, dense<2>>;
struct my_loss {
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr std::string_view name = "mine";
#endif
    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const&,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        if (dz) *dz = z;
        return row_dot(group, z, z);
    }
};
void train(network<stack, device::cpu, float>& model, data_set const& data) {
    fit(model, my_loss{}, optimizer::sgd{}, data);
}
