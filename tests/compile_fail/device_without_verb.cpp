// SPDX-License-Identifier: Apache-2.0
// expect: this device has no verb column_sums that takes what layers give it
// expect: docs/devices.md says
// A network on a device whose column_sums is not what layers call.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using namespace espalier;
struct my_device : device::cpu {
#ifndef ESPALIER_POSITIVE_TWIN
    void column_sums(int) {}
#endif
};
index_t run() {
    return network<sequence<input<16>, dense<8>>, my_device, float>{}.capacity();
}
