// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels of the update pass; which ones, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define UPDATE(...) ESPALIER_INSTANCE_UPDATE(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
