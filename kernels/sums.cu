// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels that finish sums, of whatever passes; for which numbers, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define SUMS(...) ESPALIER_INSTANCE_SUMS(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
