# SPDX-License-Identifier: Apache-2.0
# benchmarks/NAME.cpp -> bench_NAME (Google Benchmark), and benchmarks/gpu/NAME.cu -> bench_cuda_NAME when CUDA is on,
# which needs no library and says with status 77 that there is no GPU. Each file has its own main.
if(ESPALIER_HAS_CUDA)
  file(GLOB espalier_cuda_benchmarks CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/benchmarks/gpu/*.cu)
  foreach(source IN LISTS espalier_cuda_benchmarks)
    cmake_path(GET source STEM LAST_ONLY name)
    add_executable(bench_cuda_${name} ${source})
    set_target_properties(bench_cuda_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks)
    target_link_libraries(bench_cuda_${name} PRIVATE espalier_program CUDA::cudart CUDA::cublasLt
                                                     $<TARGET_NAME_IF_EXISTS:espalier_kernels>)
    if(TARGET espalier_cuda)
      add_dependencies(espalier_cuda bench_cuda_${name})
    endif()
  endforeach()
endif()

# benchmarks/space.py, which needs no library but Boost's headers; built on demand.
if(TARGET espalier_space)
  add_executable(bench_space EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/benchmarks/space/space.cpp)
  set_target_properties(bench_space PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks)
  target_link_libraries(bench_space PRIVATE espalier_program espalier_space)
endif()

find_package(benchmark QUIET)
if(NOT TARGET benchmark::benchmark)
  message(STATUS "espalier: Google Benchmark not found (Debian: libbenchmark-dev); no benchmarks of the CPU")
  return()
endif()
file(GLOB espalier_benchmarks CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/benchmarks/*.cpp)
# Its systems are thrust::cpp and thrust::omp, whatever ESPALIER_THRUST_SYSTEM says.
find_package(OpenMP QUIET COMPONENTS CXX)
if(NOT ESPALIER_HAS_THRUST OR NOT TARGET OpenMP::OpenMP_CXX)
  list(REMOVE_ITEM espalier_benchmarks ${PROJECT_SOURCE_DIR}/benchmarks/thrust.cpp)
endif()
foreach(source IN LISTS espalier_benchmarks)
  cmake_path(GET source STEM LAST_ONLY name)
  add_executable(bench_${name} ${source})
  set_target_properties(bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks)
  target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR}/benchmarks)
  target_link_libraries(bench_${name} PRIVATE espalier_program espalier_program_level benchmark::benchmark)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # std::stable_sort of libstdc++ 12, as in the tests.
    target_compile_options(bench_${name} PRIVATE -Wno-deprecated-declarations)
  endif()
endforeach()

if(TARGET bench_thrust)
  target_link_libraries(bench_thrust PRIVATE espalier_thrust OpenMP::OpenMP_CXX)
endif()

# espalier_headers_benchmark(NAME SOURCE [DEFINITION...]): a benchmark compiled from the headers alone, built on demand.
function(espalier_headers_benchmark name source)
  add_executable(bench_${name} ${PROJECT_SOURCE_DIR}/benchmarks/${source})
  set_target_properties(bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks
                                                 EXCLUDE_FROM_ALL ON)
  target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR}/benchmarks)
  target_compile_definitions(bench_${name} PRIVATE ${ARGN})
  target_link_libraries(bench_${name} PRIVATE espalier_headers espalier_flags Eigen3::Eigen benchmark::benchmark
                                              $<TARGET_NAME_IF_EXISTS:espalier::onednn>)
endfunction()

# The products once more: benchmarks/library.py compares the two.
espalier_headers_benchmark(product_headers product.cpp)
# Steps as they are, and steps that look at no number: benchmarks/finite.py compares the two.
espalier_headers_benchmark(finite_headers finite.cpp)
espalier_headers_benchmark(finite_unwatched finite.cpp ESPALIER_UNWATCHED)
