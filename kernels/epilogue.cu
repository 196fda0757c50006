// SPDX-License-Identifier: Apache-2.0
// Precompiled kernels of the epilogue pass; which ones, instances.inc says.
#include "precompiled.hpp"

namespace espalier::cuda {

#define EPILOGUE(...) ESPALIER_INSTANCE_EPILOGUE(ESPALIER_DEFINE_PASS, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
