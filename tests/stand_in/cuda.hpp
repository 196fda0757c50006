// SPDX-License-Identifier: Apache-2.0
// What a test asks of the stand-in for CUDA's runtime, which the host's side of device::cuda runs on where there is no
// GPU. docs/devices.md says what it does.
#pragma once

#include <driver_types.h>
#include <vector_types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace stand_in {

/// A kernel as it was launched; of a product of cuBLASLt `kernel` says so, and grid, block and shared are 0.
struct launch {
    std::string kernel; ///< demangled
    dim3 grid, block;
    std::size_t shared; ///< dynamic
    cudaStream_t stream;
    std::vector<void const*> memory; ///< of the device, what its arguments point to, in their order
};

/// What was asked for since the last `forget`.
struct counts {
    long allocations = 0, frees = 0;
    long waits = 0;       ///< calls after which the host knows that the device has done something
    long host_copies = 0; ///< copies from the host's memory or to it
    long launches = 0;    ///< kernels and products; those of a graph when it is launched are not counted
    long captured = 0;    ///< kernels, products, copies and memory sets that went into a graph
};

// Null where the program has CUDA's own runtime.
__attribute__((weak)) std::vector<launch> const& launches();
counts const& counted();
/// Forgets launches and counts, nothing else.
__attribute__((weak)) void forget();

/// Allocations that live, streams, graphs, and what cuBLASLt has made: 0 when a program has cleaned up.
long objects();

/// What a GPU could not have done, or only by luck, in words: pointers into memory that is not allocated, launches
/// beyond its limits, calls that are forbidden while a stream is captured. Forgets them.
std::vector<std::string> take_faults();

/// Calls that can fail and were made since the program began. Those are all but the ones that report an error, free
/// something or name one.
long calls();
/// Has call number `call`, counted from 0 as `calls` does, fail once.
void fail(long call);
/// What the call that failed was; empty when none has.
std::string failed_call();

} // namespace stand_in
