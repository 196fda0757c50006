// SPDX-License-Identifier: Apache-2.0
// What the launch of a kernel does not say, for the stand-in for CUDA's runtime.
#pragma once

#include <cstddef>
#include <vector>

namespace stand_in {

struct kernel_facts {
    struct argument {
        std::size_t size, alignment;
        std::size_t no_pointers; ///< bytes at its beginning that are none, whatever they look like
    };
    std::vector<argument> arguments;
    /// Clears what lies between the members of arguments.
    void (*clear_padding)(void* const* arguments);
    /// Does what the kernel does, for every group of the launch.
    void (*body)(void* const* arguments, unsigned groups);
};

/// Null where the program has CUDA's own runtime.
__attribute__((weak)) void know(void const* kernel, kernel_facts const& facts);

} // namespace stand_in
