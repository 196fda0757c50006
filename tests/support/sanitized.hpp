// SPDX-License-Identifier: Apache-2.0
// Whether the tests were compiled with the address sanitizer. What numbers come out is seen in the build without it;
// with it, that nothing else is read or written, for which fewer numbers do.
#pragma once

// GCC says so by a name, Clang by an answer.
#if defined(__SANITIZE_ADDRESS__)
#define ESPALIER_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ESPALIER_TEST_SANITIZED 1
#endif
#endif

#if defined(ESPALIER_TEST_SANITIZED)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
