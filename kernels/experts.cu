// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels of mixtures of experts: gates, and rows on their way to experts and back; which ones,
// instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define GATE(...) ESPALIER_INSTANCE_GATE(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#define EXPERTS(...) ESPALIER_INSTANCE_EXPERTS(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#define PAIRS(...) ESPALIER_INSTANCE_PAIRS(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
