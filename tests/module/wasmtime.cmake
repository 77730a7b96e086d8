# Programs that run the module in wasmtime through its C API: a replay with the product's code, and
# the example of docs/embedding.md, once as it is shown and once replaying traces.
include(worker/native/runtime/wasmtime.cmake)

add_executable(sidekick-replay-wasmtime
  tests/module/replay_wasmtime.cpp worker/trace/replay_files.cpp worker/trace/progress.cpp)
target_link_libraries(sidekick-replay-wasmtime PRIVATE sidekick_wasmtime_hub sidekick_core)

# Prints the layouts that the compiler derives from runtime/include, and from the official header.
add_executable(wasmtime-api tests/module/wasmtime_api.cpp)
target_include_directories(wasmtime-api PRIVATE worker/native worker/native/runtime/include)
if(EXISTS "${WASMTIME_PREFIX}/include/wasmtime.h")
  add_executable(wasmtime-api-official tests/module/wasmtime_api.cpp)
  target_include_directories(wasmtime-api-official PRIVATE worker/native)
  target_include_directories(wasmtime-api-official SYSTEM PRIVATE "${WASMTIME_PREFIX}/include")
endif()

if(NOT TARGET wasmtime::wasmtime)
  message(STATUS "the example in C++ is not built: scripts/wasmtime downloads its library")
  return()
endif()
add_executable(sidekick-conversation
  docs/examples/cpp/conversation.cpp core/src/wire/border_codec.cpp)
add_executable(sidekick-replay-example
  tests/module/replay_example.cpp worker/trace/replay_files.cpp worker/trace/progress.cpp)
target_link_libraries(sidekick-replay-example PRIVATE sidekick_trace sidekick_core)
foreach(target sidekick-conversation sidekick-replay-example)
  target_compile_options(${target} PRIVATE -fexceptions -frtti)
  target_include_directories(${target} PRIVATE
    core/include wasm-bindings worker/trace docs/examples/cpp)
  target_link_libraries(${target} PRIVATE wasmtime::wasmtime)
endforeach()
