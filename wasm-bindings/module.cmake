# The module, built for speed: -O2 with link-time optimisation, then Binaryen.
set(SIDEKICK_MEMORY_BYTES_MAX 1073741824)  # far more than the default limits can fill
# Nothing recurses; the deepest call needs a few KiB. First in memory, so that an overflow traps.
set(SIDEKICK_STACK_BYTES 262144)

add_executable(sidekick wasm-bindings/sidekick_abi.cpp wasm-bindings/runtime/allocator.cpp
  wasm-bindings/runtime/runtime.cpp)
set_target_properties(sidekick PROPERTIES SUFFIX ".wasm")
target_include_directories(sidekick PRIVATE wasm-bindings core/src)
target_link_libraries(sidekick PRIVATE sidekick_core)

foreach(target sidekick sidekick_core)
  target_compile_options(${target} PRIVATE -O2 -flto -msimd128 -fvisibility=hidden)
endforeach()
# memory.copy for large copies only: runtime.cpp gives the reason.
set_source_files_properties(wasm-bindings/runtime/runtime.cpp PROPERTIES
  COMPILE_OPTIONS "-mbulk-memory;-fno-builtin;-fno-lto"
  COMPILE_DEFINITIONS "SIDEKICK_MEMORY_BYTES_MAX=${SIDEKICK_MEMORY_BYTES_MAX}")

if(EMSCRIPTEN)
  set(stack_setting $<IF:$<VERSION_LESS:${EMSCRIPTEN_VERSION},3.1.25>,TOTAL_STACK,STACK_SIZE>)
  target_link_options(sidekick PRIVATE -O2 -flto --no-entry -Wl,--stack-first -sSTANDALONE_WASM
    -sALLOW_MEMORY_GROWTH=1 -sINITIAL_MEMORY=1048576 -sMAXIMUM_MEMORY=${SIDEKICK_MEMORY_BYTES_MAX}
    -s${stack_setting}=${SIDEKICK_STACK_BYTES})
else()
  target_link_options(sidekick PRIVATE -O2 -flto -mexec-model=reactor -Wl,--gc-sections
    -Wl,--strip-all -Wl,--max-memory=${SIDEKICK_MEMORY_BYTES_MAX}
    -Wl,-z,stack-size=${SIDEKICK_STACK_BYTES} -Wl,--stack-first)
endif()

# Both toolchains run wasm-opt themselves, but at their own level. With Emscripten 3.1.6 this pass
# gains a third, with clang 19 a twentieth. --low-memory-unused: both linkers place no data below
# 1024.
find_program(WASM_OPT wasm-opt)
function(sidekick_run_wasm_opt target)
  if(WASM_OPT)
    add_custom_command(TARGET ${target} POST_BUILD VERBATIM
      COMMAND ${WASM_OPT} -O3 --low-memory-unused --converge --enable-simd --enable-bulk-memory
              --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int
              $<TARGET_FILE:${target}> -o $<TARGET_FILE:${target}>)
  endif()
endfunction()
sidekick_run_wasm_opt(sidekick)

# Removes exports of the toolchain that are not in our header, then rejects a module with an import,
# a different export list, or too large a size.
add_custom_command(TARGET sidekick POST_BUILD
  COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-module --trim $<TARGET_FILE:sidekick>
          ${CMAKE_SOURCE_DIR}/wasm-bindings/sidekick_abi.h
  VERBATIM)
