// SPDX-License-Identifier: Apache-2.0
// What is told of every kernel before it is launched: nothing. The tests say otherwise, and so find out, where there is
// no GPU, what a kernel would do (tests/stand_in). Include it from .cu files.
#pragma once

/// ESPALIER_BEFORE_LAUNCH(lanes, kernel, body): lanes of the blocks that the body is written for, 0 if it takes any;
/// the kernel; and a function of a block, the group of the launch and the arguments that does what the kernel does.
#if !defined(ESPALIER_BEFORE_LAUNCH)
#define ESPALIER_BEFORE_LAUNCH(lanes, kernel, ...) static_cast<void>(0)
#endif
