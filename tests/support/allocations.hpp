// SPDX-License-Identifier: Apache-2.0
// How often this thread has taken memory: by new, by malloc, and inside libraries. The counting functions are weak, so
// any number of tests may include this header.
#pragma once

#include "sanitized.hpp"

#include <cstddef>
#include <cstdlib>

#if defined(__GLIBC__) && !defined(ESPALIER_TEST_SANITIZED)
#define ESPALIER_TEST_COUNTS_MALLOC
inline constinit thread_local std::size_t counted_allocations = 0;
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
[[gnu::weak]] void* malloc(std::size_t size) {
    ++counted_allocations;
    return __libc_malloc(size);
}
[[gnu::weak]] void* aligned_alloc(std::size_t alignment, std::size_t size) {
    ++counted_allocations;
    return __libc_memalign(alignment, size);
}
[[gnu::weak]] int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
    ++counted_allocations;
    *to = __libc_memalign(alignment, size);
    return *to ? 0 : 12;
}
}
#endif
