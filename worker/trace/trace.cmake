# sidekick-trace and sidekick-replay, native and as WASI preview 1 commands. Expects the target sidekick_core.
set(SIDEKICK_TRACE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(SIDEKICK_TRACE_READER_SOURCES core/src/trace/trace_reader.cpp ${SIDEKICK_TRACE_DIR}/replay/replay.cpp)
set(SIDEKICK_TRACE_SOURCES
  ${SIDEKICK_TRACE_DIR}/about.cpp
  ${SIDEKICK_TRACE_DIR}/files.cpp
  ${SIDEKICK_TRACE_DIR}/main.cpp
  ${SIDEKICK_TRACE_DIR}/members.cpp
  ${SIDEKICK_TRACE_DIR}/timeline.cpp
  ${SIDEKICK_TRACE_DIR}/commands/compare.cpp
  ${SIDEKICK_TRACE_DIR}/commands/record.cpp
  ${SIDEKICK_TRACE_DIR}/commands/replay.cpp
  ${SIDEKICK_TRACE_DIR}/commands/show.cpp
  ${SIDEKICK_TRACE_DIR}/commands/stat.cpp
  ${SIDEKICK_TRACE_DIR}/commands/upgrade_check.cpp
  ${SIDEKICK_TRACE_DIR}/redact/characters.cpp
  ${SIDEKICK_TRACE_DIR}/redact/redact.cpp
  ${SIDEKICK_TRACE_DIR}/redact/redacted.cpp
  ${SIDEKICK_TRACE_DIR}/redact/stand_in.cpp)

if(SIDEKICK_IS_MODULE)
  # Optional in the build of the module: whoever only wants that needs no JSON library.
  find_path(SIDEKICK_NLOHMANN_JSON nlohmann/json.hpp PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
  if(NOT SIDEKICK_NLOHMANN_JSON)
    message(STATUS "no nlohmann/json.hpp: sidekick-replay.wasm and sidekick-trace.wasm are not built")
    return()
  endif()
  # Its folder, /usr/include as a rule, holds the machine's libc as well: only what is wanted is let in.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
  file(CREATE_LINK ${SIDEKICK_NLOHMANN_JSON}/nlohmann ${CMAKE_BINARY_DIR}/include/nlohmann SYMBOLIC)

  add_executable(sidekick-replay ${SIDEKICK_TRACE_DIR}/replay/replay_core.cpp ${SIDEKICK_TRACE_READER_SOURCES})
  add_executable(sidekick-trace ${SIDEKICK_TRACE_SOURCES} ${SIDEKICK_TRACE_READER_SOURCES}
    ${SIDEKICK_TRACE_DIR}/shrink/no_shrink.cpp ${SIDEKICK_TRACE_DIR}/no_wasmtime_hub.cpp)
  foreach(command sidekick-replay sidekick-trace)
    set_target_properties(${command} PROPERTIES SUFFIX ".wasm")
    target_include_directories(${command} PRIVATE core/src ${SIDEKICK_TRACE_DIR})
    target_include_directories(${command} SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/include)
    target_link_libraries(${command} PRIVATE sidekick_core)
    target_compile_options(${command} PRIVATE -O2 -flto -msimd128)
    target_link_options(${command} PRIVATE -O2 -flto -Wl,--gc-sections -Wl,--strip-all
      -Wl,--stack-first -Wl,-z,stack-size=1048576)  # an overflow traps
  endforeach()
  return()
endif()

find_package(nlohmann_json REQUIRED)
include(worker/native/runtime/wasmtime.cmake)

# Reading and replaying traces: for the commands, the tests and the fuzzers.
add_library(sidekick_trace_reader STATIC ${SIDEKICK_TRACE_READER_SOURCES})
target_include_directories(sidekick_trace_reader PUBLIC core/include core/src ${SIDEKICK_TRACE_DIR})
target_link_libraries(sidekick_trace_reader PRIVATE nlohmann_json::nlohmann_json)

add_executable(sidekick-replay ${SIDEKICK_TRACE_DIR}/replay/replay_core.cpp)
target_link_libraries(sidekick-replay PRIVATE sidekick_trace_reader sidekick_core)

add_library(sidekick_trace_tool OBJECT ${SIDEKICK_TRACE_SOURCES}
  ${SIDEKICK_TRACE_DIR}/shrink/answer_check.cpp ${SIDEKICK_TRACE_DIR}/shrink/lighten.cpp
  ${SIDEKICK_TRACE_DIR}/shrink/parties.cpp ${SIDEKICK_TRACE_DIR}/shrink/shrink.cpp)
target_link_libraries(sidekick_trace_tool PUBLIC sidekick_trace_reader PRIVATE nlohmann_json::nlohmann_json)

add_library(sidekick_wasmtime_hub STATIC ${SIDEKICK_TRACE_DIR}/wasmtime_hub.cpp)
target_compile_options(sidekick_wasmtime_hub PRIVATE -fexceptions -frtti)
target_link_libraries(sidekick_wasmtime_hub PUBLIC sidekick_trace_reader PRIVATE sidekick_module_runtime)

add_executable(sidekick-trace)
target_link_libraries(sidekick-trace PRIVATE sidekick_trace_tool sidekick_core sidekick_wasmtime_hub)
