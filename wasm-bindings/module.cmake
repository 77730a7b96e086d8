# The modules, built for speed: -O2 with link-time optimisation, then Binaryen.
set(SIDEKICK_MEMORY_BYTES_MAX 1073741824)  # far more than the default limits can fill
# Nothing recurses; the deepest call needs a few KiB. First in memory, so that an overflow traps.
set(SIDEKICK_STACK_BYTES 262144)

# memory.copy for large copies only: runtime.cpp gives the reason.
set_source_files_properties(wasm-bindings/runtime/runtime.cpp PROPERTIES
  COMPILE_OPTIONS "-mbulk-memory;-fno-builtin;-fno-lto"
  COMPILE_DEFINITIONS "SIDEKICK_MEMORY_BYTES_MAX=${SIDEKICK_MEMORY_BYTES_MAX}")

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

function(sidekick_compile_for_module target)
  target_compile_options(${target} PRIVATE -O2 -flto -msimd128 -fvisibility=hidden)
endfunction()

# A module with the exports of NAME_abi.h, which NAME_abi.cpp defines.
function(sidekick_add_module target name)
  add_executable(${target} wasm-bindings/${name}_abi.cpp wasm-bindings/runtime/allocator.cpp
    wasm-bindings/runtime/runtime.cpp)
  set_target_properties(${target} PROPERTIES SUFFIX ".wasm")
  target_include_directories(${target} PRIVATE wasm-bindings core/src)
  sidekick_compile_for_module(${target})
  if(EMSCRIPTEN)
    set(stack_setting $<IF:$<VERSION_LESS:${EMSCRIPTEN_VERSION},3.1.25>,TOTAL_STACK,STACK_SIZE>)
    target_link_options(${target} PRIVATE -O2 -flto --no-entry -Wl,--stack-first -sSTANDALONE_WASM
      -sALLOW_MEMORY_GROWTH=1 -sINITIAL_MEMORY=1048576
      -sMAXIMUM_MEMORY=${SIDEKICK_MEMORY_BYTES_MAX} -s${stack_setting}=${SIDEKICK_STACK_BYTES})
  else()
    target_link_options(${target} PRIVATE -O2 -flto -mexec-model=reactor -Wl,--gc-sections
      -Wl,--strip-all -Wl,--max-memory=${SIDEKICK_MEMORY_BYTES_MAX}
      -Wl,-z,stack-size=${SIDEKICK_STACK_BYTES} -Wl,--stack-first)
  endif()
  sidekick_run_wasm_opt(${target})

  # Removes exports of the toolchain that are not in our header, then rejects a module with an
  # import, a different export list, or too large a size.
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-module --trim $<TARGET_FILE:${target}>
            ${CMAKE_SOURCE_DIR}/wasm-bindings/${name}_abi.h
    VERBATIM)
endfunction()

sidekick_add_module(sidekick sidekick)
target_link_libraries(sidekick PRIVATE sidekick_core)
sidekick_compile_for_module(sidekick_core)

# The engine as a machine, for Cloudflare. Of the core, the linker takes what it uses.
sidekick_add_module(shard sidekick_shard)
target_link_libraries(shard PRIVATE sidekick_shard sidekick_core)
sidekick_compile_for_module(sidekick_shard)
