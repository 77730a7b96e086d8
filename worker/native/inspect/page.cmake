# Builds the page of the inspector, which inspector_page.cpp puts into the server.
set(page ${CMAKE_BINARY_DIR}/inspector-page.html)
file(GLOB parts CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/worker/inspector/* ${CMAKE_SOURCE_DIR}/worker/src/module/*.ts)
add_custom_command(OUTPUT ${page}
  COMMAND ${NODE_PROGRAM} --import tsx worker/inspector/build.ts ${page}
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  DEPENDS ${parts}
  VERBATIM)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/inspector_page.cpp PROPERTIES
  OBJECT_DEPENDS ${page}
  COMPILE_DEFINITIONS SIDEKICK_INSPECTOR_PAGE="${page}")
