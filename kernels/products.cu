// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels of the products by tiles; for which numbers, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define PRODUCTS(...) ESPALIER_INSTANCE_PRODUCTS(, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
