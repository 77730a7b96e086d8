# wasmtime::wasmtime, the C and C++ API: from WASMTIME_PREFIX (a variable of CMake or of the environment; scripts/env.sh sets it to what
# scripts/wasmtime has built), else wherever the system has one. No target where there is none. What is found is not cached, since the prefix
# moves with its version; the prefix is, since ninja configures again in shells that do not have it.
include_guard(GLOBAL)
if(NOT "$ENV{WASMTIME_PREFIX}" STREQUAL "")
  set(WASMTIME_PREFIX "$ENV{WASMTIME_PREFIX}" CACHE PATH "A folder with wasmtime's include/ and lib/" FORCE)
endif()
find_path(wasmtime_include wasmtime.hh HINTS "${WASMTIME_PREFIX}" PATH_SUFFIXES include NO_CACHE)
find_library(wasmtime_library NAMES libwasmtime.a wasmtime HINTS "${WASMTIME_PREFIX}" PATH_SUFFIXES lib NO_CACHE)
if(NOT wasmtime_include OR NOT wasmtime_library)
  message(STATUS "wasmtime's C API is not there: nothing is built that needs it (scripts/setup builds it, or set WASMTIME_PREFIX)")
  return()
endif()
find_package(Threads REQUIRED)
add_library(wasmtime::wasmtime UNKNOWN IMPORTED)
set_target_properties(wasmtime::wasmtime PROPERTIES
  IMPORTED_LOCATION "${wasmtime_library}"
  INTERFACE_INCLUDE_DIRECTORIES "${wasmtime_include}"
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
