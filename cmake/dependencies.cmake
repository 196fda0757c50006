# SPDX-License-Identifier: Apache-2.0
# What the public headers include: zlib and nlohmann-json (readers, checkpoints, history). The package configuration file
# finds the same two. Eigen and oneDNN are further products; our own tests need Eigen. Everything else is looked for where
# it is used.
include(${CMAKE_CURRENT_LIST_DIR}/eigen.cmake)
espalier_find_eigen()
if((ESPALIER_TESTS OR ESPALIER_BENCHMARKS) AND NOT ESPALIER_HAS_EIGEN)
  message(FATAL_ERROR "espalier: tests and benchmarks need Eigen, 3.4 or 5 (Debian: apt-get install libeigen3-dev)")
endif()
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)

# Boost's headers hold Hana, which the headers of space/ include.
find_package(Boost 1.74 QUIET CONFIG)

# oneDNN: Debian's CMake package needs OpenCL's development files, so the library is looked for by name.
include(${CMAKE_CURRENT_LIST_DIR}/onednn.cmake)
if(NOT ESPALIER_ONEDNN STREQUAL "OFF")
  espalier_find_onednn()
  if(ESPALIER_ONEDNN STREQUAL "ON" AND NOT ESPALIER_ONEDNN_FOUND)
    message(FATAL_ERROR "espalier: ESPALIER_ONEDNN is ON but oneDNN was not found (Debian: apt-get install libdnnl-dev)")
  endif()
endif()
if(ESPALIER_ONEDNN_FOUND)
  message(STATUS "espalier: oneDNN products available (${ESPALIER_ONEDNN_LIBRARY})")
else()
  message(STATUS "espalier: no oneDNN")
endif()
