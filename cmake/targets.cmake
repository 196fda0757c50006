# SPDX-License-Identifier: Apache-2.0
# The public targets; none forces compiler flags on a program. espalier::espalier: the headers and the library that goes
# with them. espalier::headers: the headers alone, which then bring everything and include zlib and nlohmann-json
# themselves. espalier::eigen adds Eigen, for product/eigen.hpp.
include(GNUInstallDirs)

add_library(espalier_include INTERFACE)
set_target_properties(espalier_include PROPERTIES EXPORT_NAME include)
target_compile_features(espalier_include INTERFACE cxx_std_20)
target_include_directories(espalier_include INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/kernels/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(espalier_include INTERFACE Threads::Threads)

add_library(espalier_headers INTERFACE)
add_library(espalier::headers ALIAS espalier_headers)
set_target_properties(espalier_headers PROPERTIES EXPORT_NAME headers)
target_link_libraries(espalier_headers INTERFACE espalier_include ZLIB::ZLIB nlohmann_json::nlohmann_json)
target_compile_definitions(espalier_headers INTERFACE ESPALIER_HEADER_ONLY)

include(${CMAKE_CURRENT_LIST_DIR}/library.cmake)

if(ESPALIER_HAS_EIGEN)
  add_library(espalier_eigen INTERFACE)
  add_library(espalier::eigen ALIAS espalier_eigen)
  target_link_libraries(espalier_eigen INTERFACE espalier_include Eigen3::Eigen)
endif()

# espalier::space: spaces of specialisations (espalier/space/*.hpp), where Boost's headers are.
if(TARGET Boost::headers)
  add_library(espalier_space INTERFACE)
  add_library(espalier::space ALIAS espalier_space)
  target_link_libraries(espalier_space INTERFACE espalier_include Boost::headers)
endif()

# espalier::thrust: Espalier in programs that use Thrust (espalier/thrust/*.hpp), where Thrust's headers are.
if(ESPALIER_HAS_THRUST)
  add_library(espalier_thrust INTERFACE)
  add_library(espalier::thrust ALIAS espalier_thrust)
  target_link_libraries(espalier_thrust INTERFACE espalier_include)
  espalier_link_thrust(espalier_thrust)
endif()

# espalier::kernels: the precompiled instantiations, when CUDA is on and there are any.
if(ESPALIER_HAS_CUDA)
  file(GLOB_RECURSE espalier_kernel_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
  if(espalier_kernel_sources)
    add_library(espalier_kernels STATIC ${espalier_kernel_sources})
    add_library(espalier::kernels ALIAS espalier_kernels)
    set_target_properties(espalier_kernels PROPERTIES EXPORT_NAME kernels POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(espalier_kernels
      PUBLIC espalier_library CUDA::cudart CUDA::cublasLt
      PRIVATE $<BUILD_INTERFACE:espalier_flags>)
  else()
    message(STATUS "espalier: kernels/ has no .cu yet, so there is no espalier::kernels")
  endif()
endif()

# What our own executables link.
add_library(espalier_program INTERFACE)
target_link_libraries(espalier_program INTERFACE espalier_library espalier_flags)
if(TARGET espalier_eigen)
  target_link_libraries(espalier_program INTERFACE espalier_eigen)
endif()
if(ESPALIER_ONEDNN_FOUND)
  target_link_libraries(espalier_program INTERFACE espalier::onednn)
endif()
target_compile_definitions(espalier_program INTERFACE
  ESPALIER_EXAMPLE_DATA="${PROJECT_SOURCE_DIR}/examples/data")

# Examples and benchmarks are for speed. A build that only asks whether they work, as scripts/test.sh does, compiles them in
# two thirds of the time, and the programs of the tests that others start, too.
# Of a .cu it is the host's side that takes most of the time and needs no speed; device code is optimised whatever this says.
option(ESPALIER_PROGRAMS_AT_O1 "Compile examples, benchmarks and tools of tests at -O1: not for measurements" OFF)
add_library(espalier_program_level INTERFACE)
if(ESPALIER_PROGRAMS_AT_O1)
  target_compile_options(espalier_program_level INTERFACE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
endif()
if(ESPALIER_PROGRAMS_AT_O1 AND ESPALIER_HAS_CUDA)
  string(REGEX REPLACE "-O[23]" "-O0" CMAKE_CUDA_FLAGS_RELEASE "${CMAKE_CUDA_FLAGS_RELEASE}")
endif()
