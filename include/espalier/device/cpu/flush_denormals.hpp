// SPDX-License-Identifier: Apache-2.0
// host only. Tiny numbers count as zero while training and predicting.
#pragma once

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define ESPALIER_HAS_MXCSR 1
#else
#define ESPALIER_HAS_MXCSR 0
#endif

namespace espalier::cpu {

/// While it lives, this thread's arithmetic gives 0 instead of denormal results (flush to zero) and reads denormal
/// operands as 0 (denormals are zero): bits 15 and 6 of MXCSR. Decayed weights and moments of weights without a
/// gradient pass through the denormals on their way to 0, where an operation costs a hundred cycles and more. The end
/// of the scope, by return or by exception, brings back exactly what the caller had. On machines without MXCSR it does
/// nothing. `training` and `network::predict` use it in each call; the caller's own arithmetic is never touched.
class flush_denormals {
public:
#if ESPALIER_HAS_MXCSR
    flush_denormals() : before_(_mm_getcsr()) {
        _mm_setcsr(before_ | 0x8040u);
    }
    ~flush_denormals() {
        _mm_setcsr(before_);
    }
#else
    flush_denormals() {}
    ~flush_denormals() {}
#endif
    flush_denormals(flush_denormals const&) = delete;
    flush_denormals& operator=(flush_denormals const&) = delete;

#if ESPALIER_HAS_MXCSR
private:
    unsigned before_;
#endif
};

} // namespace espalier::cpu
