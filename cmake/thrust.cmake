# SPDX-License-Identifier: Apache-2.0
# espalier_find_thrust(): sets ESPALIER_HAS_THRUST, or else ESPALIER_THRUST_MISSING, a sentence. Thrust is headers alone:
# those of the CUDA toolkit (CCCL) where the project compiles CUDA, which is what nvcc would find, and otherwise those of
# Debian's libthrust-dev or of a toolkit in its usual place.
# espalier_link_thrust(TARGET): what the interface library TARGET gives its users: the headers, the device system named by
# ESPALIER_THRUST_SYSTEM and what that one needs. A source cannot choose: in one program all of them must agree.
set(ESPALIER_THRUST_SYSTEM "" CACHE STRING
    "Where Thrust's algorithms on device_vector run: CPP, OMP, TBB or CUDA; empty is CUDA where CUDA is compiled, else CPP")
set_property(CACHE ESPALIER_THRUST_SYSTEM PROPERTY STRINGS "" CPP OMP TBB CUDA)

macro(espalier_find_thrust)
  set(ESPALIER_HAS_THRUST OFF)
  set(ESPALIER_THRUST_MISSING "")
  set(espalier_thrust_system "${ESPALIER_THRUST_SYSTEM}")
  if(espalier_thrust_system STREQUAL "")
    set(espalier_thrust_system CPP)
    if(CMAKE_CUDA_COMPILER)
      set(espalier_thrust_system CUDA)
    endif()
  endif()
  if(NOT espalier_thrust_system MATCHES "^(CPP|OMP|TBB|CUDA)$")
    message(FATAL_ERROR "espalier: ESPALIER_THRUST_SYSTEM is ${espalier_thrust_system}, and Thrust knows CPP, OMP, TBB and "
                        "CUDA")
  endif()
  if(CMAKE_CUDA_COMPILER)
    find_package(CUDAToolkit QUIET)
    find_path(ESPALIER_THRUST_INCLUDE thrust/version.h PATHS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES cccl
              NO_DEFAULT_PATH DOC "Folder that has thrust/version.h")
  endif()
  find_path(ESPALIER_THRUST_INCLUDE thrust/version.h)
  find_path(ESPALIER_THRUST_INCLUDE thrust/version.h PATHS /usr/local/cuda/include PATH_SUFFIXES cccl
            DOC "Folder that has thrust/version.h")
  mark_as_advanced(ESPALIER_THRUST_INCLUDE)
  set(espalier_thrust_version 0)
  if(ESPALIER_THRUST_INCLUDE)
    file(STRINGS ${ESPALIER_THRUST_INCLUDE}/thrust/version.h espalier_thrust_version
         REGEX "^#[ \t]*define[ \t]+THRUST_VERSION[ \t]+[0-9]+")
    string(REGEX REPLACE "^.*THRUST_VERSION[ \t]+([0-9]+).*$" "\\1" espalier_thrust_version "${espalier_thrust_version}")
  endif()
  if(espalier_thrust_version LESS 101700)
    set(ESPALIER_THRUST_MISSING "Thrust 1.17 or later was not found (Debian: apt-get install libthrust-dev)")
  elseif(espalier_thrust_system STREQUAL "CUDA" AND NOT CMAKE_CUDA_COMPILER)
    set(ESPALIER_THRUST_MISSING "ESPALIER_THRUST_SYSTEM is CUDA, and the project does not compile CUDA")
  elseif(CMAKE_CUDA_COMPILER AND espalier_thrust_version LESS 200000)
    set(ESPALIER_THRUST_MISSING "Thrust in ${ESPALIER_THRUST_INCLUDE} is too old for nvcc: set ESPALIER_THRUST_INCLUDE to "
                                "the CUDA toolkit's include/cccl")
    string(REPLACE ";" "" ESPALIER_THRUST_MISSING "${ESPALIER_THRUST_MISSING}")
  elseif(espalier_thrust_system STREQUAL "OMP")
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(NOT TARGET OpenMP::OpenMP_CXX)
      set(ESPALIER_THRUST_MISSING "ESPALIER_THRUST_SYSTEM is OMP, and the compiler's OpenMP was not found")
    endif()
  elseif(espalier_thrust_system STREQUAL "TBB")
    find_package(TBB QUIET CONFIG)
    if(NOT TARGET TBB::tbb)
      set(ESPALIER_THRUST_MISSING "ESPALIER_THRUST_SYSTEM is TBB, and TBB was not found (Debian: apt-get install libtbb-dev)")
    endif()
  endif()
  if(ESPALIER_THRUST_MISSING STREQUAL "")
    set(ESPALIER_HAS_THRUST ON)
  endif()
endmacro()

function(espalier_link_thrust target)
  target_include_directories(${target} SYSTEM INTERFACE ${ESPALIER_THRUST_INCLUDE})
  # With the system CUDA, what the C++ compiler sees runs on the host: it cannot launch a kernel.
  set(device ${espalier_thrust_system})
  if(device STREQUAL "CUDA")
    set(device $<IF:$<COMPILE_LANGUAGE:CUDA>,CUDA,CPP>)
  endif()
  target_compile_definitions(${target} INTERFACE THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_${device})
  # A training on the CPU then selects masks on all cores (prune/select.hpp).
  if(espalier_thrust_system MATCHES "^(OMP|TBB)$")
    target_compile_definitions(${target} INTERFACE ESPALIER_SELECTS_WITH_THRUST)
  endif()
  if(espalier_thrust_system STREQUAL "OMP")
    target_link_libraries(${target} INTERFACE OpenMP::OpenMP_CXX)
  elseif(espalier_thrust_system STREQUAL "TBB")
    target_link_libraries(${target} INTERFACE TBB::tbb)
  endif()
  # These versions name functions of CUDA's runtime in host code too, which only an optimiser removes.
  if(espalier_thrust_version GREATER_EQUAL 300100 AND espalier_thrust_version LESS 300400)
    find_package(CUDAToolkit QUIET)
    target_link_libraries(${target} INTERFACE $<TARGET_NAME_IF_EXISTS:CUDA::cudart>)
  endif()
endfunction()
