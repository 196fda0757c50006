# SPDX-License-Identifier: Apache-2.0
# espalier::espalier, the library: everything that is no template of a network (src/), compiled once for the baseline of
# the architecture, and the loops that depend on the width of a pack (src/loops.cpp) once for each instruction set. Which
# of them a program uses follows from the flags that it is compiled with (core/pack.hpp), so a library built on one
# machine serves programs for all. It is always a static library: a program takes the objects of its own width only, and
# an inline function that AVX-512 code left in a shared one could reach programs for older processors.
file(GLOB espalier_library_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cpp)
list(REMOVE_ITEM espalier_library_sources ${PROJECT_SOURCE_DIR}/src/loops.cpp)

add_library(espalier_library STATIC ${espalier_library_sources})
add_library(espalier::espalier ALIAS espalier_library)
set_target_properties(espalier_library PROPERTIES EXPORT_NAME espalier OUTPUT_NAME espalier
                                                  POSITION_INDEPENDENT_CODE ON)
target_link_libraries(espalier_library
  PUBLIC espalier_include
  PRIVATE ZLIB::ZLIB $<BUILD_INTERFACE:espalier_library_flags> $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)

# espalier_loops(WIDTH FLAG...): src/loops.cpp for packs of WIDTH bytes.
function(espalier_loops width)
  add_library(espalier_loops_${width} OBJECT ${PROJECT_SOURCE_DIR}/src/loops.cpp)
  set_target_properties(espalier_loops_${width} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(espalier_loops_${width} PRIVATE espalier_include espalier_library_flags)
  target_compile_options(espalier_loops_${width} PRIVATE ${ARGN})
  target_compile_definitions(espalier_loops_${width} PRIVATE ESPALIER_LOOPS_BYTES=${width})
  target_sources(espalier_library PRIVATE $<TARGET_OBJECTS:espalier_loops_${width}>)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  foreach(set IN ITEMS baseline avx2 avx512)
    espalier_arch_flags(${set} espalier_set_flags)
    espalier_loops(${espalier_pack_bytes_${set}} ${espalier_set_flags})
  endforeach()
else()
  espalier_loops(16)
endif()
