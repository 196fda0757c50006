// SPDX-License-Identifier: Apache-2.0
// That Thrust is one which the library's headers beside this one work with, and that its device system has been chosen.
#pragma once

// Unasked Thrust takes CUDA's, which a C++ compiler fails on far from the cause.
#if !defined(THRUST_DEVICE_SYSTEM) && !defined(__CUDACC__)
#error                                                                                                                 \
    "espalier: link espalier::thrust, or define THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP for the whole program (docs/thrust.md)"
#endif

#include <thrust/version.h>

#if defined(__CUDACC__)
static_assert(
    THRUST_VERSION >= 200000,
    "espalier: nvcc has found a Thrust older than its own: put the CUDA toolkit's include/cccl before the folder "
    "that has it, or set ESPALIER_THRUST_INCLUDE to that one with CMake (docs/thrust.md)");
#else
static_assert(THRUST_VERSION >= 101700,
              "espalier: Thrust is older than 1.17: install libthrust-dev or take CCCL's (docs/thrust.md)");
#endif
