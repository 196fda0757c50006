// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels of batch normalisation; which ones, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define BATCH_NORM(...) ESPALIER_INSTANCE_BATCH_NORM(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
