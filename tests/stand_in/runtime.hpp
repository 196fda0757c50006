// SPDX-License-Identifier: Apache-2.0
// What the parts of the stand-in for CUDA share.
#pragma once

#include "stand_in/cuda.hpp"

#include <cstddef>
#include <functional>
#include <string>

namespace stand_in {

/// Something that the device does when its turn comes.
struct work {
    std::string name;
    std::function<void()> check; ///< whether its memory is there, as the host puts it on a stream
    std::function<void()> run;
};

/// Begins a call of the program: what it shall give back at once, or cudaSuccess.
cudaError_t begin(char const* call);
/// The same for a call that may not come while a stream is captured.
cudaError_t begin_uncaptured(char const* call);
/// The error of a call, remembered for cudaGetLastError.
cudaError_t failed(cudaError_t what);
/// Puts something on a stream, or into the graph that is made of it.
cudaError_t put(cudaStream_t stream, work what, launch const* shape = nullptr);

void report(std::string const& fault);
/// Reports memory that is not all inside one allocation.
void expect_memory(std::string const& what, void const* first, std::size_t bytes);
/// Counts what the program has to destroy, +1 or -1.
void count_objects(int change);

} // namespace stand_in
