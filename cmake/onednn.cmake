# SPDX-License-Identifier: Apache-2.0
# espalier_find_onednn(): sets ESPALIER_ONEDNN_FOUND and makes espalier::onednn, which links the library and defines
# ESPALIER_HAS_ONEDNN. Programs that use product::onednn link it beside espalier::headers.
function(espalier_find_onednn)
  find_path(ESPALIER_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp DOC "Folder that contains oneapi/dnnl/dnnl.hpp")
  find_library(ESPALIER_ONEDNN_LIBRARY dnnl DOC "The oneDNN library")
  mark_as_advanced(ESPALIER_ONEDNN_INCLUDE ESPALIER_ONEDNN_LIBRARY)
  set(found OFF)
  if(ESPALIER_ONEDNN_INCLUDE AND ESPALIER_ONEDNN_LIBRARY)
    set(found ON)
    if(NOT TARGET espalier::onednn)
      add_library(espalier::onednn INTERFACE IMPORTED GLOBAL)
      target_include_directories(espalier::onednn INTERFACE ${ESPALIER_ONEDNN_INCLUDE})
      target_link_libraries(espalier::onednn INTERFACE ${ESPALIER_ONEDNN_LIBRARY})
      target_compile_definitions(espalier::onednn INTERFACE ESPALIER_HAS_ONEDNN)
    endif()
  endif()
  set(ESPALIER_ONEDNN_FOUND ${found} PARENT_SCOPE)
endfunction()
