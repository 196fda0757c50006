// SPDX-License-Identifier: Apache-2.0
// expect: compact copies weights, and these networks store theirs in different types
// A network in double to be filled from one in float.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/compact.hpp>
#include <espalier/network/network.hpp>
#include <espalier/units/fixed_mask.hpp>
using namespace espalier;
using large = network<sequence<input<16>, dense<8, units::fixed_mask>, dense<3>>, device::cpu, float>;
#ifdef ESPALIER_POSITIVE_TWIN
using small = network<sequence<input<16>, dense<4>, dense<3>>, device::cpu, float>;
#else
using small = network<sequence<input<16>, dense<4>, dense<3>>, device::cpu, double>;
#endif
inline void make_small(large& from, small& to) {
    compact(from, to);
}
