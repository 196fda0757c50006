# SPDX-License-Identifier: Apache-2.0
# cmake --install: headers, CMake package (find_package(espalier)), pkg-config file, licence.
include(CMakePackageConfigHelpers)
set(espalier_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/espalier)

foreach(folder IN ITEMS include kernels/include)
  if(IS_DIRECTORY ${PROJECT_SOURCE_DIR}/${folder})
    install(DIRECTORY ${folder}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
            FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh" PATTERN "*.inc")
  endif()
endforeach()

install(TARGETS espalier_include espalier_headers EXPORT espalier-headers)
install(EXPORT espalier-headers NAMESPACE espalier:: FILE espalier-headers.cmake DESTINATION ${espalier_package_dir})
install(TARGETS espalier_library EXPORT espalier-library ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT espalier-library NAMESPACE espalier:: FILE espalier-library.cmake DESTINATION ${espalier_package_dir})
if(TARGET espalier_kernels)
  install(TARGETS espalier_kernels EXPORT espalier-kernels ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT espalier-kernels NAMESPACE espalier:: FILE espalier-kernels.cmake DESTINATION ${espalier_package_dir})
endif()

configure_package_config_file(cmake/espalierConfig.cmake.in ${PROJECT_BINARY_DIR}/espalierConfig.cmake
                              INSTALL_DESTINATION ${espalier_package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break the source.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/espalierConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/espalierConfig.cmake ${PROJECT_BINARY_DIR}/espalierConfigVersion.cmake
              cmake/eigen.cmake cmake/onednn.cmake cmake/thrust.cmake cmake/arch-flags.cmake
              cmake/cuda-standard.cmake
        DESTINATION ${espalier_package_dir})

# The prefix is found from the .pc file's own place, so that the installed tree can be moved. espalier is the headers with
# the library, espalier-headers the headers alone.
foreach(folder IN ITEMS INCLUDEDIR LIBDIR)
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_${folder} BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
             OUTPUT_VARIABLE espalier_pc_${folder})
endforeach()
cmake_path(SET espalier_pc_up NORMALIZE ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
string(REGEX REPLACE "[^/]+" ".." espalier_pc_up ${espalier_pc_up})
foreach(name IN ITEMS espalier espalier-headers)
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
