# SPDX-License-Identifier: Apache-2.0
# Compiler flags of Espalier's own executables (target espalier_flags); nothing here reaches a consumer unasked.
include(${CMAKE_CURRENT_LIST_DIR}/arch-flags.cmake)

if(ESPALIER_ARCH_FLAGS STREQUAL "none")
  set(espalier_arch "")
  set(espalier_arch_reason "ESPALIER_ARCH_FLAGS is none")
elseif(ESPALIER_ARCH_FLAGS)
  separate_arguments(espalier_arch UNIX_COMMAND "${ESPALIER_ARCH_FLAGS}")
  set(espalier_arch_reason "given by ESPALIER_ARCH_FLAGS")
else()
  espalier_recommended_arch_flags(espalier_arch espalier_arch_reason)
endif()

# Floating point: errno and traps are given up, nothing else. Contraction to fused multiply-add stays the compiler's
# default (on), as in nvcc; no reassociation, no assumption about NaN or infinity.
set(espalier_float -fno-math-errno -fno-trapping-math)
# Packs are passed by value only between inlined functions, so the note about their calling convention is noise.
# Tests that call the compiler themselves give it this too.
set(espalier_error_flag "")
if(ESPALIER_WARNINGS_AS_ERRORS)
  set(espalier_error_flag -Werror)
endif()
set(espalier_warnings -Wall -Wextra -Wshadow -Wno-psabi ${espalier_error_flag})
# Whoever uses the headers alone compiles the library's code with flags of their own.
set(espalier_library_warnings ${espalier_warnings} -Wpedantic -Wconversion -Wsign-conversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 reports impossible overlaps and overruns inside std::string's operator+ (GCC bug 105651); 13 does not.
  list(APPEND espalier_warnings -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  # GCC 12's own AVX-512 intrinsics begin from a variable that is deliberately undefined (GCC bug 105593); inlined into
  # Eigen's kernels they are reported where Eigen is used.
  list(APPEND espalier_warnings -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Of a policy that a test or a program makes for itself not every name is asked for.
  list(APPEND espalier_warnings -Wno-unused-const-variable)
endif()
# The preset asan does not optimise: with policies inlined into one function the checks of all of them stand there, and
# compiling that takes many times what the tests gain.
set(espalier_sanitizers "")
if(ESPALIER_SANITIZE)
  # A null pointer that is followed stops the program under the address sanitizer too, which makes the check of every
  # reference for it superfluous: a tenth of what a unit test takes to compile.
  set(espalier_sanitizers -fsanitize=${ESPALIER_SANITIZE} -fno-sanitize=null -fno-sanitize-recover=all
                          -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's flow analysis sees the sanitizers' own branches.
    list(APPEND espalier_warnings -Wno-maybe-uninitialized)
    list(APPEND espalier_library_warnings -Wno-maybe-uninitialized)
  elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND ESPALIER_SANITIZE MATCHES "address")
    # As GCC does it unless a program asks: what Clang keeps for a use after return it keeps for each lane of an emulated
    # block, and the tests take three times as long.
    list(APPEND espalier_sanitizers -fsanitize-address-use-after-return=never)
  endif()
endif()

# The library's own: no architecture is chosen for whoever links it.
add_library(espalier_library_flags INTERFACE)
target_compile_options(espalier_library_flags INTERFACE ${espalier_library_warnings} ${espalier_float}
                                                        ${espalier_sanitizers})

add_library(espalier_flags INTERFACE)
set(espalier_host ${espalier_warnings} ${espalier_float} ${espalier_arch} ${espalier_sanitizers})
# nvcc writes #line directives that -Wpedantic refuses, so that one is for C++ only.
target_compile_options(espalier_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${espalier_host};-Wpedantic>")
target_link_options(espalier_flags INTERFACE ${espalier_sanitizers})
if(ESPALIER_HAS_CUDA)
  # nvcc leaves the device's unroll pragmas in what the host compiler sees.
  list(JOIN espalier_host "," espalier_host_joined)
  string(APPEND espalier_host_joined ",-Wno-unknown-pragmas")
  # 186: nvcc compares "unsigned < 0" in loops over a pack that happens to be empty.
  set(espalier_cuda_options -Xcompiler=${espalier_host_joined} -diag-suppress=186)
  if(ESPALIER_WARNINGS_AS_ERRORS)
    list(APPEND espalier_cuda_options --Werror=all-warnings)
  endif()
  target_compile_options(espalier_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${espalier_cuda_options}>")
endif()

if(PROJECT_IS_TOP_LEVEL)
  list(JOIN espalier_arch " " espalier_arch_text)
  if(NOT espalier_arch_text)
    set(espalier_arch_text "(baseline)")
  endif()
  message(STATUS "espalier: architecture flags ${espalier_arch_text}: ${espalier_arch_reason}")
  list(JOIN espalier_float " " espalier_float_text)
  message(STATUS "espalier: floating point ${espalier_float_text}; contraction as the compiler's default")
endif()
