# SPDX-License-Identifier: Apache-2.0
# espalier_find_eigen(): sets ESPALIER_HAS_EIGEN when there is an Eigen3::Eigen of version 3.4 or 5 (there was no 4). The
# version is compared here, because each version's package refuses a request for the other's, also as an end of a range.
macro(espalier_find_eigen)
  find_package(Eigen3 QUIET NO_MODULE)
  set(ESPALIER_HAS_EIGEN OFF)
  if(TARGET Eigen3::Eigen AND NOT (Eigen3_FOUND AND Eigen3_VERSION VERSION_LESS 3.4))
    set(ESPALIER_HAS_EIGEN ON)
  endif()
endmacro()
