# The core as a component (build/sidekick.component.wasm): the same sources behind wit/sidekick.wit. `bindings` is wit-bindgen's work and is
# committed, since wit-bindgen takes minutes to build; scripts/generate --check knows when it is stale.
enable_language(C)

add_executable(sidekick_component
  wasm-bindings/component/component.cpp wasm-bindings/component/allocation.cpp wasm-bindings/component/bindings/sidekick.c
  wasm-bindings/runtime/allocator.cpp wasm-bindings/runtime/runtime.cpp)
set_target_properties(sidekick_component PROPERTIES SUFFIX ".core.wasm")
target_include_directories(sidekick_component PRIVATE wasm-bindings/component)
target_link_libraries(sidekick_component PRIVATE sidekick_core)
target_compile_options(sidekick_component PRIVATE -Oz -flto -msimd128 -fvisibility=hidden)
set_source_files_properties(wasm-bindings/component/bindings/sidekick.c PROPERTIES COMPILE_OPTIONS -w)
set_source_files_properties(wasm-bindings/component/allocation.cpp PROPERTIES COMPILE_OPTIONS "-fno-builtin;-fno-lto")
target_link_options(sidekick_component PRIVATE $<TARGET_PROPERTY:sidekick,LINK_OPTIONS>)
add_custom_command(TARGET sidekick_component POST_BUILD VERBATIM
  COMMAND ${CMAKE_SOURCE_DIR}/scripts/make-component $<TARGET_FILE:sidekick_component> ${CMAKE_SOURCE_DIR}/wasm-bindings/wit/sidekick.wit
          ${CMAKE_BINARY_DIR}/sidekick.component.wasm)
