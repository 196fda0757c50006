// SPDX-License-Identifier: Apache-2.0
// Whether the tests were compiled with the address sanitizer. What numbers come out is seen in the build without it;
// with it, that nothing else is read or written, for which fewer numbers do.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
