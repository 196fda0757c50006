// SPDX-License-Identifier: Apache-2.0
// A user's program with Thrust, compiled against the installed package with its component for that.
#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/functor/forward.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
#include <espalier/thrust/view.hpp>

#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/transform.h>

#include <cstdio>

namespace esp = espalier;

int main() {
    esp::network<esp::sequence<esp::input<2>, esp::dense<3>>, esp::device::cpu, float> net{esp::seed{2}};
    thrust::device_vector<float> x(8, 1.0f), y(12);
    net.predict(esp::view(x, 2), esp::view(y, 3));
    thrust::transform(y.begin(), y.end(), y.begin(), esp::forward<esp::activation::relu>());
    auto const negative = thrust::count_if(y.begin(), y.end(), [](float v) { return v < 0.0f; });
    auto const positive = thrust::count_if(y.begin(), y.end(), [](float v) { return v > 0.0f; });
    bool const right = negative == 0 && positive > 0 && y[0] == y[9];
    std::printf("espalier thrust: %s, system %d\n", right ? "right" : "wrong", THRUST_DEVICE_SYSTEM);
    return right && THRUST_DEVICE_SYSTEM == EXPECTED_SYSTEM ? 0 : 1;
}
