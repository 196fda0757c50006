// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels over rows: softmax, losses; which ones, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define SOFTMAX(...) ESPALIER_INSTANCE_SOFTMAX(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#define COUNT(...) ESPALIER_INSTANCE_COUNT(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#define LOSS(...) ESPALIER_INSTANCE_LOSS(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
