// SPDX-License-Identifier: Apache-2.0
// The few preprocessor names that the language cannot express. Everything else in Espalier is a type or a function.
#pragma once

// ESPALIER_FN marks a function that a policy or a kernel body may call: it runs on the host and on the device and is
// inlined into the loop or kernel that uses it, so that a composition of policies compiles to one loop body.
//
// ESPALIER_HOST_FN marks what is inlined likewise but belongs to the host alone: the loops of the CPU that call a
// lambda.
//
// Without optimisation nothing is forced to be inline: there is no speed to gain, and code that is written once instead
// of at every use compiles faster and can be stepped through.
#if defined(__OPTIMIZE__)
#define ESPALIER_HOST_FN inline __attribute__((always_inline))
#else
#define ESPALIER_HOST_FN inline
#endif
#if defined(__CUDACC__)
#define ESPALIER_FN __host__ __device__ __forceinline__
#define ESPALIER_KERNEL __global__ __attribute__((visibility("hidden")))
#else
#define ESPALIER_FN ESPALIER_HOST_FN
#endif

// Before a template that is ESPALIER_FN and calls what the program gave it, which may be for the host alone: nvcc would
// warn of every use, those on the host among them.
#if defined(__CUDACC__)
#define ESPALIER_ANYWHERE _Pragma("nv_exec_check_disable")
#else
#define ESPALIER_ANYWHERE
#endif

// In a template Clang (19 and 22 were tried) deduces the types of `sgd{.learning_rate = 0.1, .momentum = 0.9}` a second
// time, of a list without its numbers: the optimizer has the default rate and no momentum, and this warning is all that
// is said. No list that C++ allows causes it otherwise.
#if defined(__clang__)
#pragma clang diagnostic error "-Winitializer-overrides"
#endif

// 1 while device code is being compiled: vector types of the host compiler do not exist there.
#if defined(__CUDA_ARCH__)
#define ESPALIER_ON_DEVICE 1
#else
#define ESPALIER_ON_DEVICE 0
#endif

#define ESPALIER_RESTRICT __restrict__
