# core_bench natively; in a build for WASM, the same work as a module of its own (for the bench
# only: it is never shipped). Expects the target sidekick_core.
if(SIDEKICK_IS_MODULE)
  # Uses the flags of the module that ships, set in module.cmake before this file is included.
  add_executable(sidekick_bench EXCLUDE_FROM_ALL tests/bench/core_bench_wasm.cpp
    wasm-bindings/runtime/allocator.cpp wasm-bindings/runtime/runtime.cpp)
  set_target_properties(sidekick_bench PROPERTIES SUFFIX ".wasm" OUTPUT_NAME sidekick.bench
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_SOURCE_DIR}/build)
  target_link_libraries(sidekick_bench PRIVATE sidekick_core)
  target_compile_options(sidekick_bench PRIVATE $<TARGET_PROPERTY:sidekick,COMPILE_OPTIONS>)
  target_link_options(sidekick_bench PRIVATE $<TARGET_PROPERTY:sidekick,LINK_OPTIONS>)
  sidekick_run_wasm_opt(sidekick_bench)
else()
  add_executable(core_bench ${CMAKE_SOURCE_DIR}/tests/bench/core_bench.cpp)
  target_link_libraries(core_bench PRIVATE sidekick_core)
endif()
