# SPDX-License-Identifier: Apache-2.0
# One consumer, from nothing: see CMakeLists.txt beside this file.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status COMMAND_ECHO STDOUT)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "espalier: consumer ${kind} failed with status ${status}")
  endif()
endfunction()

if(kind STREQUAL "install")
  file(REMOVE_RECURSE ${prefix})
  if(kernels)
    run(${CMAKE_COMMAND} --build ${build} --target espalier_kernels)
  endif()
  run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix})
  return()
endif()

set(folder ${work}/${kind})
file(REMOVE_RECURSE ${folder})
file(MAKE_DIRECTORY ${folder})

if(kind STREQUAL "pkg_config")
  find_program(pkg_config NAMES pkg-config pkgconf)
  if(NOT pkg_config)
    message("espalier: skipped: pkg-config is not installed")
    return()
  endif()
  set(ENV{PKG_CONFIG_PATH} ${prefix}/${libdir}/pkgconfig)
  # The shipped file, found in the prefix and not somewhere else on the system.
  execute_process(COMMAND ${pkg_config} --modversion espalier OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  if(NOT found STREQUAL version)
    message(FATAL_ERROR "espalier: pkg-config reports version '${found}', expected ${version}")
  endif()
  execute_process(COMMAND ${pkg_config} --cflags --libs espalier OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${cxx} -std=c++20 -Wall ${here}/main.cpp -o ${folder}/consumer ${flags})
  run(${folder}/consumer)
  return()
endif()

set(arguments -G ${generator} -DCMAKE_CXX_COMPILER=${cxx} -DCMAKE_BUILD_TYPE=Release)
if(kind STREQUAL "add_subdirectory")
  list(APPEND arguments -DESPALIER_SOURCE=${source})
else()
  list(APPEND arguments -DCMAKE_PREFIX_PATH=${prefix} -DESPALIER_EXPECTED_PREFIX=${prefix}
       -DESPALIER_EXPECTED_VERSION=${version})
endif()
if(kind STREQUAL "cuda")
  list(APPEND arguments -DCMAKE_CUDA_COMPILER=${cuda} "-DCMAKE_CUDA_ARCHITECTURES=${cuda_architectures}"
       -DESPALIER_WITH_KERNELS=${kernels})
endif()
run(${CMAKE_COMMAND} -S ${here}/${kind} -B ${folder} ${arguments})
run(${CMAKE_COMMAND} --build ${folder})
if(kind STREQUAL "cuda")
  # Compiled and linked; running it needs a GPU.
  if(NOT EXISTS ${folder}/consumer)
    message(FATAL_ERROR "espalier: no executable was linked")
  endif()
else()
  run(${folder}/consumer)
endif()
