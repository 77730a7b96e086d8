# What runs the module in wasmtime through its C API: the example of docs/embedding.md, and a replay with that example's own code.
include(worker/native/wasmtime/wasmtime.cmake)
if(NOT TARGET wasmtime::wasmtime)
  return()
endif()

add_executable(sidekick-conversation docs/examples/cpp/conversation.cpp)
add_executable(sidekick-replay-wasmtime tests/module/replay_wasmtime.cpp)
target_link_libraries(sidekick-replay-wasmtime PRIVATE sidekick_wasmtime_hub sidekick_core)  # worker/trace
foreach(target sidekick-conversation sidekick-replay-wasmtime)
  target_compile_options(${target} PRIVATE -fexceptions -frtti)
  target_include_directories(${target} PRIVATE core/include wasm-bindings docs/examples/cpp)
  target_link_libraries(${target} PRIVATE wasmtime::wasmtime)
endforeach()
