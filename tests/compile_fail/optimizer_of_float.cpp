// SPDX-License-Identifier: Apache-2.0
// expect: the op of an optimizer needs .*T step\(T w, T g, T\* m, T learning_rate, T decay\) const
// expect: given_type<.*my_step
// nvcc: skip training is host code
// An optimizer whose step is for floats.
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
    double learning_rate;
    double rate() const { return learning_rate; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> T step(T w, T g, T*, T rate, T) const {
        return w - rate * g;
    }
#else
    float step(float w, float g, float*, float rate, float) const {
        return w - rate * g;
    }
#endif
};
struct my_optimizer {
    void validate() const {}
    my_step at(espalier::clock const&, std::uint64_t) const { return {0.1}; }
};
void train(network<stack, device::cpu, float>& model, data_set const& data) {
    fit(model, loss::mean_squared_error{}, my_optimizer{}, data);
}
