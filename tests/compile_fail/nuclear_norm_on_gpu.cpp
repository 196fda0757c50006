// SPDX-License-Identifier: Apache-2.0
// expect: nuclear_norm decomposes matrices in host memory
// The nuclear norm of matrices that the host cannot read.
#include "far_away.hpp"

#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/train/nuclear_norm.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using target = device::cpu;
#else
struct target : far_away {
    template <class T> using buffer = espalier::cpu::buffer<T>;
};
#endif
struct looked_at : network<sequence<input<4>, dense<2>>, device::cpu, float> {
    using device_type = target;
};
inline constexpr bool made = sizeof(nuclear_norm<looked_at>) != 0;
