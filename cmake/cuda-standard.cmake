# SPDX-License-Identifier: Apache-2.0
# CMake 3.25.1 (Debian 12) does not know that nvcc has had C++20 since 12.0; later versions do. Included after CUDA is
# enabled, here and by the installed package, so that CMAKE_CUDA_STANDARD 20 works.
if(CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.0
   AND NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
