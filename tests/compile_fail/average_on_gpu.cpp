// SPDX-License-Identifier: Apache-2.0
// expect: parameters are averaged in host memory
// The average of parameters whose memory the host cannot read.
#include "far_away.hpp"

#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/parameters.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using target = device::cpu;
#else
struct target : far_away {
    template <class T> using buffer = espalier::cpu::buffer<T>;
};
#endif
void follow(parameters<sequence<input<4>, dense<2>>, target, float>& average,
            parameters<sequence<input<4>, dense<2>>, target, float> const& student) {
    average.average(student, 0.9);
}
