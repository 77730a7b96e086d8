# wasmtime for the native server and sidekick-trace. WASMTIME_PREFIX (a variable of CMake or of the
# environment; scripts/env.sh sets it to the folder of scripts/wasmtime) names a folder with lib/
# and, if it is an official release of the C API, include/.
#   sidekick_module_runtime  runs the module. It loads libwasmtime.so when needed, and compiles
#                            without wasmtime: runtime/include declares the functions it calls.
#   wasmtime::wasmtime       the library to link against, as the example in the docs does. Not
#                            defined if there is no library.
# With SIDEKICK_WASMTIME_LINKED the library is linked into every user of sidekick_module_runtime:
# with the official libwasmtime.a, the server is one file.
include_guard(GLOBAL)
find_package(Threads REQUIRED)
option(SIDEKICK_WASMTIME_LINKED "Link wasmtime into the commands, from WASMTIME_PREFIX" OFF)
# Paths that were found are not cached, since the prefix changes with the version. The prefix is
# cached, since ninja configures again in shells that do not set it.
if(NOT "$ENV{WASMTIME_PREFIX}" STREQUAL "")
  set(WASMTIME_PREFIX "$ENV{WASMTIME_PREFIX}" CACHE PATH "A folder with wasmtime's lib/" FORCE)
endif()

set(wasmtime_include ${CMAKE_CURRENT_LIST_DIR}/include)
if(EXISTS "${WASMTIME_PREFIX}/include/wasmtime.h")
  set(wasmtime_include "${WASMTIME_PREFIX}/include")
endif()

if(SIDEKICK_WASMTIME_LINKED)
  set(wasmtime_names libwasmtime.a libwasmtime.so)
else()
  set(wasmtime_names libwasmtime.so libwasmtime.a)
endif()
find_library(wasmtime_library NAMES ${wasmtime_names} PATHS "${WASMTIME_PREFIX}/lib"
  NO_DEFAULT_PATH NO_CACHE)
if(wasmtime_library)
  add_library(wasmtime::wasmtime UNKNOWN IMPORTED)
  set_target_properties(wasmtime::wasmtime PROPERTIES
    IMPORTED_LOCATION "${wasmtime_library}"
    IMPORTED_NO_SONAME ON
    INTERFACE_INCLUDE_DIRECTORIES "${wasmtime_include}"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
endif()
if(SIDEKICK_WASMTIME_LINKED)
  set(missing)
  if(NOT wasmtime_library)
    list(APPEND missing lib/libwasmtime.a)
  endif()
  if(NOT EXISTS "${WASMTIME_PREFIX}/include/wasmtime.h")  # runtime/include has no WASMTIME_VERSION
    list(APPEND missing include/wasmtime.h)
  endif()
  if(missing)
    list(JOIN missing " and no " missing)
    message(FATAL_ERROR "SIDEKICK_WASMTIME_LINKED: no ${missing} in '${WASMTIME_PREFIX}'; "
      "set WASMTIME_PREFIX to the folder of wasmtime's official C API")
  endif()
endif()

add_library(sidekick_module_runtime STATIC
  ${CMAKE_CURRENT_LIST_DIR}/module_runtime.cpp
  ${CMAKE_CURRENT_LIST_DIR}/wasmtime_library.cpp)
target_include_directories(sidekick_module_runtime
  PUBLIC core/include worker/native PRIVATE wasm-bindings)
target_include_directories(sidekick_module_runtime SYSTEM PUBLIC ${wasmtime_include})
target_compile_options(sidekick_module_runtime PRIVATE -fexceptions -frtti $<$<CONFIG:Release>:-O2>)
if(SIDEKICK_WASMTIME_LINKED)
  target_compile_definitions(sidekick_module_runtime PRIVATE SIDEKICK_WASMTIME_LINKED)
  target_link_libraries(sidekick_module_runtime PUBLIC wasmtime::wasmtime)
else()
  # Only for this file: another prefix recompiles nothing else.
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/wasmtime_library.cpp PROPERTIES
    COMPILE_DEFINITIONS "SIDEKICK_WASMTIME_FOLDER=\"${WASMTIME_PREFIX}/lib\"")
  target_link_libraries(sidekick_module_runtime PUBLIC ${CMAKE_DL_LIBS})
endif()
