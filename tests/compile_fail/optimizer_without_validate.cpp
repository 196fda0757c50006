// SPDX-License-Identifier: Apache-2.0
// expect: an optimizer needs `void validate\(\) const`
// expect: given_type<.*my_optimizer
// nvcc: skip training is host code
// An optimizer that cannot say whether its numbers make sense.
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
struct my_step {
    static constexpr int moments = 0;
    double rate() const { return 0.1; }
    template <class T> T step(T w, T g, T*, T rate, T) const { return w - rate * g; }
};
struct my_optimizer {
#ifdef ESPALIER_POSITIVE_TWIN
    void validate() const {}
#endif
    my_step at(espalier::clock const&, std::uint64_t) const {
        return {};
    }
};
void train(network<stack, device::cpu, float>& model, data_set const& data) {
    fit(model, loss::mean_squared_error{}, my_optimizer{}, data);
}
