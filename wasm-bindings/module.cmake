# The module. Small first (-Oz, link-time optimisation): it is shipped to edge workers; the reader, where the time goes, is built for speed.
set(SIDEKICK_MEMORY_BYTES_MAX 1073741824)  # far above what the default limits can fill
set(SIDEKICK_STACK_BYTES 262144)           # nothing recurses; the deepest call needs a few KiB. First in memory: an overflow traps

add_executable(sidekick wasm-bindings/sidekick_abi.cpp wasm-bindings/runtime/allocator.cpp wasm-bindings/runtime/runtime.cpp)
set_target_properties(sidekick PROPERTIES SUFFIX ".wasm")
target_include_directories(sidekick PRIVATE wasm-bindings core/src)
target_link_libraries(sidekick PRIVATE sidekick_core)

# -finline-functions: at -Oz Emscripten forbids inlining altogether, which makes one `send` more than twice as dear and saves nothing.
foreach(target sidekick sidekick_core)
  target_compile_options(${target} PRIVATE -Oz -flto -msimd128 -fvisibility=hidden -finline-functions)
endforeach()
set_source_files_properties(core/src/ion/reader.cpp core/src/base/hash_index.cpp PROPERTIES COMPILE_OPTIONS -O2)
# memory.copy for what is large: runtime.cpp says why only there.
set_source_files_properties(wasm-bindings/runtime/runtime.cpp PROPERTIES
  COMPILE_OPTIONS "-mbulk-memory;-fno-builtin;-fno-lto"
  COMPILE_DEFINITIONS "SIDEKICK_MEMORY_BYTES_MAX=${SIDEKICK_MEMORY_BYTES_MAX}")

if(EMSCRIPTEN)
  target_link_options(sidekick PRIVATE -Oz -flto --no-entry -Wl,--stack-first -sSTANDALONE_WASM
    -sALLOW_MEMORY_GROWTH=1 -sINITIAL_MEMORY=1048576 -sMAXIMUM_MEMORY=${SIDEKICK_MEMORY_BYTES_MAX}
    $<IF:$<VERSION_LESS:${EMSCRIPTEN_VERSION},3.1.25>,-sTOTAL_STACK=${SIDEKICK_STACK_BYTES},-sSTACK_SIZE=${SIDEKICK_STACK_BYTES}>)
else()
  target_link_options(sidekick PRIVATE -Oz -flto -mexec-model=reactor -Wl,--gc-sections -Wl,--strip-all
    -Wl,--max-memory=${SIDEKICK_MEMORY_BYTES_MAX} -Wl,-z,stack-size=${SIDEKICK_STACK_BYTES} -Wl,--stack-first)
endif()

# Neither pays in size: loop strength reduction, and partial redundancy elimination of loads. Emscripten already goes without the first.
target_link_options(sidekick PRIVATE "SHELL:-Wl,-mllvm,-enable-load-pre=false,-mllvm,-enable-pre=false")
if(NOT EMSCRIPTEN)
  target_link_options(sidekick PRIVATE -Wl,-mllvm,-disable-lsr)
endif()

# --low-memory-unused: no data below 1024, as both linkers lay it out.
# clang runs it by itself where it finds it, but only with the flags of the first -O on the line.
find_program(WASM_OPT wasm-opt)
if(WASM_OPT)
  add_custom_command(TARGET sidekick POST_BUILD VERBATIM
    COMMAND ${WASM_OPT} -Oz --low-memory-unused --converge --enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int
            $<TARGET_FILE:sidekick> -o $<TARGET_FILE:sidekick>)
endif()

# Removes what the toolchain exports beside our header, then refuses a module with an import, another export list, or too large.
add_custom_command(TARGET sidekick POST_BUILD
  COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-module --trim $<TARGET_FILE:sidekick> ${CMAKE_SOURCE_DIR}/wasm-bindings/sidekick_abi.h
  VERBATIM)
