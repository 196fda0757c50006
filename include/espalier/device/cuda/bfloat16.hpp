// SPDX-License-Identifier: Apache-2.0
// bf16 as storage of activations: arithmetic, gradients of parameters and the parameters themselves are float.
#pragma once

#include <espalier/core/layout.hpp>

#include <cuda_bf16.h>

namespace espalier {

/// What a GPU stores in two bytes.
using bfloat16 = __nv_bfloat16;

/// Parameters of a network in bf16 are float.
template <> struct master<__nv_bfloat16> { using type = float; };

} // namespace espalier
