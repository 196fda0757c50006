// SPDX-License-Identifier: Apache-2.0
// expect: link espalier::thrust, or define THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP for the whole program
// nvcc: skip nvcc takes the system CUDA unasked
// Thrust without a word about where its algorithms run.
#ifndef ESPALIER_POSITIVE_TWIN
#undef THRUST_DEVICE_SYSTEM
#endif
#include <espalier/thrust/version.hpp>
