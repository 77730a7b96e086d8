# sidekick-trace: the trace tools as one command, native and as a WASI command. Expects the target sidekick_core, in WASI's build also
# what tests/wasi/replay.cmake prepares.
set(SIDEKICK_TRACE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(SIDEKICK_TRACE_SOURCES
  ${SIDEKICK_TRACE_DIR}/about.cpp
  ${SIDEKICK_TRACE_DIR}/characters.cpp
  ${SIDEKICK_TRACE_DIR}/compare.cpp
  ${SIDEKICK_TRACE_DIR}/files.cpp
  ${SIDEKICK_TRACE_DIR}/main.cpp
  ${SIDEKICK_TRACE_DIR}/members.cpp
  ${SIDEKICK_TRACE_DIR}/record_command.cpp
  ${SIDEKICK_TRACE_DIR}/redact.cpp
  ${SIDEKICK_TRACE_DIR}/redacted.cpp
  ${SIDEKICK_TRACE_DIR}/replay_command.cpp
  ${SIDEKICK_TRACE_DIR}/show.cpp
  ${SIDEKICK_TRACE_DIR}/stand_in.cpp
  ${SIDEKICK_TRACE_DIR}/stat.cpp
  ${SIDEKICK_TRACE_DIR}/timeline.cpp
  ${SIDEKICK_TRACE_DIR}/upgrade_check.cpp)

if(SIDEKICK_IS_MODULE)
  if(NOT SIDEKICK_NLOHMANN_JSON)
    return()
  endif()
  add_executable(sidekick-trace ${SIDEKICK_TRACE_SOURCES} ${SIDEKICK_TRACE_DIR}/no_shrink.cpp ${SIDEKICK_TRACE_DIR}/no_wasmtime_hub.cpp
    core/trace/replay.cpp core/trace/trace_reader.cpp)
  set_target_properties(sidekick-trace PROPERTIES SUFFIX ".wasm")
  target_include_directories(sidekick-trace PRIVATE core/trace core/src)
  target_include_directories(sidekick-trace SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/include)
  target_link_libraries(sidekick-trace PRIVATE sidekick_core)
  target_compile_options(sidekick-trace PRIVATE -O2 -flto -msimd128)
  target_link_options(sidekick-trace PRIVATE -O2 -flto -Wl,--gc-sections -Wl,--strip-all -Wl,--stack-first -Wl,-z,stack-size=1048576)
  return()
endif()

add_library(sidekick_trace_tool OBJECT ${SIDEKICK_TRACE_SOURCES}
  ${SIDEKICK_TRACE_DIR}/answer_check.cpp ${SIDEKICK_TRACE_DIR}/lighten.cpp ${SIDEKICK_TRACE_DIR}/parties.cpp ${SIDEKICK_TRACE_DIR}/shrink.cpp)
target_include_directories(sidekick_trace_tool PRIVATE core/src)
target_link_libraries(sidekick_trace_tool PUBLIC sidekick_trace_reader PRIVATE nlohmann_json::nlohmann_json)

if(TARGET wasmtime::wasmtime)
  add_library(sidekick_wasmtime_hub STATIC ${SIDEKICK_TRACE_DIR}/wasmtime_hub.cpp)
  target_compile_options(sidekick_wasmtime_hub PRIVATE -fexceptions -frtti)
  target_include_directories(sidekick_wasmtime_hub PUBLIC ${SIDEKICK_TRACE_DIR} PRIVATE wasm-bindings docs/examples/cpp)
  target_link_libraries(sidekick_wasmtime_hub PUBLIC sidekick_trace_reader wasmtime::wasmtime)
else()
  add_library(sidekick_wasmtime_hub STATIC ${SIDEKICK_TRACE_DIR}/no_wasmtime_hub.cpp)
  target_include_directories(sidekick_wasmtime_hub PUBLIC ${SIDEKICK_TRACE_DIR})
  target_link_libraries(sidekick_wasmtime_hub PUBLIC sidekick_trace_reader)
endif()

add_executable(sidekick-trace)
target_link_libraries(sidekick-trace PRIVATE sidekick_trace_tool sidekick_core sidekick_wasmtime_hub)
include(tests/trace-tool/trace-tool.cmake)
