# sidekick-trace, native and as a WASI preview 1 command. Expects the target sidekick_core.
set(SIDEKICK_TRACE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(SIDEKICK_TRACE_LIBRARY_SOURCES core/src/trace/format_1.cpp core/src/trace/replay.cpp
    core/src/trace/trace_reader.cpp)
set(SIDEKICK_TRACE_SOURCES
  ${SIDEKICK_TRACE_DIR}/about.cpp
  ${SIDEKICK_TRACE_DIR}/files.cpp
  ${SIDEKICK_TRACE_DIR}/main.cpp
  ${SIDEKICK_TRACE_DIR}/members.cpp
  ${SIDEKICK_TRACE_DIR}/progress.cpp
  ${SIDEKICK_TRACE_DIR}/replay_files.cpp
  ${SIDEKICK_TRACE_DIR}/timeline.cpp
  ${SIDEKICK_TRACE_DIR}/commands/compare.cpp
  ${SIDEKICK_TRACE_DIR}/commands/html.cpp
  ${SIDEKICK_TRACE_DIR}/commands/record.cpp
  ${SIDEKICK_TRACE_DIR}/commands/replay.cpp
  ${SIDEKICK_TRACE_DIR}/commands/show.cpp
  ${SIDEKICK_TRACE_DIR}/commands/stat.cpp
  ${SIDEKICK_TRACE_DIR}/commands/upgrade_check.cpp
  ${SIDEKICK_TRACE_DIR}/redact/characters.cpp
  ${SIDEKICK_TRACE_DIR}/redact/engine_texts.cpp
  ${SIDEKICK_TRACE_DIR}/redact/redact.cpp
  ${SIDEKICK_TRACE_DIR}/redact/redacted.cpp
  ${SIDEKICK_TRACE_DIR}/redact/stand_in.cpp)

if(SIDEKICK_IS_MODULE)
  # Optional, so that building only the module needs no JSON library.
  find_path(SIDEKICK_NLOHMANN_JSON nlohmann/json.hpp
    PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
  if(NOT SIDEKICK_NLOHMANN_JSON)
    message(STATUS "no nlohmann/json.hpp: sidekick-trace.wasm is not built")
    return()
  endif()
  # Its folder, usually /usr/include, also has the machine's libc, so it gets a folder of its own.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
  file(CREATE_LINK ${SIDEKICK_NLOHMANN_JSON}/nlohmann ${CMAKE_BINARY_DIR}/include/nlohmann SYMBOLIC)

  add_executable(sidekick-trace ${SIDEKICK_TRACE_SOURCES} ${SIDEKICK_TRACE_LIBRARY_SOURCES}
    ${SIDEKICK_TRACE_DIR}/shrink/no_shrink.cpp ${SIDEKICK_TRACE_DIR}/no_wasmtime_hub.cpp)
  set_target_properties(sidekick-trace PROPERTIES SUFFIX ".wasm")
  target_include_directories(sidekick-trace PRIVATE core/src ${SIDEKICK_TRACE_DIR})
  target_include_directories(sidekick-trace SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/include)
  target_link_libraries(sidekick-trace PRIVATE sidekick_core)
  target_compile_options(sidekick-trace PRIVATE -O2 -flto -msimd128)
  target_link_options(sidekick-trace PRIVATE -O2 -flto -Wl,--gc-sections -Wl,--strip-all
    -Wl,--stack-first -Wl,-z,stack-size=1048576)  # an overflow traps
  return()
endif()

find_package(nlohmann_json REQUIRED)
include(worker/native/runtime/wasmtime.cmake)

# Reading and replaying traces, for the command and the tests. Prints nothing.
add_library(sidekick_trace STATIC ${SIDEKICK_TRACE_LIBRARY_SOURCES})
target_include_directories(sidekick_trace PUBLIC core/include core/src)
target_link_libraries(sidekick_trace PRIVATE nlohmann_json::nlohmann_json)

add_library(sidekick_trace_commands OBJECT ${SIDEKICK_TRACE_SOURCES}
  ${SIDEKICK_TRACE_DIR}/shrink/answer_check.cpp ${SIDEKICK_TRACE_DIR}/shrink/lighten.cpp
  ${SIDEKICK_TRACE_DIR}/shrink/parties.cpp ${SIDEKICK_TRACE_DIR}/shrink/shrink.cpp)
target_include_directories(sidekick_trace_commands PUBLIC ${SIDEKICK_TRACE_DIR})
target_link_libraries(sidekick_trace_commands PUBLIC sidekick_trace
  PRIVATE nlohmann_json::nlohmann_json)

add_library(sidekick_wasmtime_hub STATIC ${SIDEKICK_TRACE_DIR}/wasmtime_hub.cpp)
target_compile_options(sidekick_wasmtime_hub PRIVATE -fexceptions -frtti)
target_include_directories(sidekick_wasmtime_hub PUBLIC ${SIDEKICK_TRACE_DIR})
target_link_libraries(sidekick_wasmtime_hub PUBLIC sidekick_trace PRIVATE sidekick_module_runtime)

add_executable(sidekick-trace)
target_link_libraries(sidekick-trace PRIVATE
  sidekick_trace_commands sidekick_core sidekick_wasmtime_hub)
