// SPDX-License-Identifier: Apache-2.0
// host only. Statuses of CUDA and cuBLASLt as exceptions: none is ever ignored.
#pragma once

#include <espalier/core/error.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <string>

namespace espalier::cuda {

/// Throws device_error with CUDA's own text unless `status` is success. `what` names the call.
inline void check(cudaError_t status, char const* what) {
    if (status == cudaSuccess) return;
    static_cast<void>(cudaGetLastError()); // the next launch would report it once more
    throw device_error(std::string(what) + ": CUDA says " + cudaGetErrorName(status) + " (" +
                       cudaGetErrorString(status) + ")");
}

/// The same for cuBLASLt.
inline void check(cublasStatus_t status, char const* what) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw device_error(std::string(what) + ": cuBLASLt says " + cublasLtGetStatusName(status) + " (" +
                       cublasLtGetStatusString(status) + ")");
}

/// After a kernel launch: whether it could be launched at all. Does not wait for the kernel.
inline void check_launch(char const* kernel) {
    check(cudaGetLastError(), kernel);
}

} // namespace espalier::cuda
