# sidekick-replay as a WASI preview 1 command: the same source as the native one, for `wasmtime run` and every other such runtime.
# Optional in the build of the module: whoever only wants that needs no JSON library.
find_path(SIDEKICK_NLOHMANN_JSON nlohmann/json.hpp PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
if(NOT SIDEKICK_NLOHMANN_JSON)
  message(STATUS "no nlohmann/json.hpp: sidekick-replay.wasm is not built")
  return()
endif()
# Its folder, /usr/include as a rule, holds the machine's libc as well: only what is wanted is let in.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${SIDEKICK_NLOHMANN_JSON}/nlohmann ${CMAKE_BINARY_DIR}/include/nlohmann SYMBOLIC)

add_executable(sidekick-replay core/trace/replay_core.cpp core/trace/replay.cpp core/trace/trace_reader.cpp)
set_target_properties(sidekick-replay PROPERTIES SUFFIX ".wasm")
target_include_directories(sidekick-replay PRIVATE core/trace)
target_include_directories(sidekick-replay SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/include)
target_link_libraries(sidekick-replay PRIVATE sidekick_core)
target_compile_options(sidekick-replay PRIVATE -O2 -flto -msimd128)
target_link_options(sidekick-replay PRIVATE -O2 -flto -Wl,--gc-sections -Wl,--strip-all
  -Wl,--stack-first -Wl,-z,stack-size=1048576)  # an overflow traps
