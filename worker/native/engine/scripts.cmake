# Builds the scripts of the engine into the server. Each file begins with its `#!lua` line;
# common.lua is inserted after that line.
set(folder ${CMAKE_SOURCE_DIR}/worker/engine)
file(GLOB files CONFIGURE_DEPENDS ${folder}/*.lua)
file(READ ${folder}/common.lua common)
set(scripts)
foreach(file ${files})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  get_filename_component(name ${file} NAME_WE)
  if(name STREQUAL "common")  # quoted: there is a variable of this name
    continue()
  endif()
  file(READ ${file} text)
  string(FIND "${text}" "\n" first)
  math(EXPR first "${first} + 1")
  string(SUBSTRING "${text}" 0 ${first} head)
  string(SUBSTRING "${text}" ${first} -1 rest)
  string(APPEND scripts "    {\"${name}\", R\"lua(${head}${common}${rest})lua\"},\n")
endforeach()

set(SIDEKICK_ENGINE_SCRIPTS ${CMAKE_BINARY_DIR}/engine_scripts.cpp)
file(CONFIGURE OUTPUT ${SIDEKICK_ENGINE_SCRIPTS} @ONLY CONTENT
"#include \"engine/scripts.hpp\"

namespace sidekick::host {

std::span<const EngineScript> engine_scripts() {
  static constexpr EngineScript scripts[] = {
@scripts@  };
  return scripts;
}

}  // namespace sidekick::host
")
