# sidekick-trace, tested: expected outputs beside this file, and builds with a planted bug to shrink for. Expects sidekick_trace_commands.
set(SIDEKICK_TRACE_TESTS ${CMAKE_CURRENT_LIST_DIR})
add_test(NAME trace COMMAND sh ${SIDEKICK_TRACE_TESTS}/trace_test.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE:sidekick-trace>)
add_test(NAME trace-memory COMMAND sh ${SIDEKICK_TRACE_TESTS}/memory_test.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE:sidekick-trace>)
add_test(NAME trace-hostile COMMAND python3 ${SIDEKICK_TRACE_TESTS}/hostile_test.py ${SIDEKICK_TRACES} $<TARGET_FILE:sidekick-trace> $<TARGET_FILE:sidekick-trace> replay)
add_test(NAME trace-progress
  COMMAND python3 ${SIDEKICK_TRACE_TESTS}/progress_test.py trace $<TARGET_FILE:sidekick-trace>)
add_test(NAME trace-redact COMMAND python3 ${SIDEKICK_TRACE_TESTS}/redact_test.py $<TARGET_FILE:sidekick-trace>)

foreach(mutation differs traps)
  set(mutated ${CMAKE_CURRENT_BINARY_DIR}/mutants/trace-${mutation}/hub_frames.cpp)
  add_custom_command(OUTPUT ${mutated}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/mutants/trace-${mutation}
    COMMAND patch --quiet --force --no-backup-if-mismatch --output=${mutated} ${CMAKE_SOURCE_DIR}/core/src/hub/hub_frames.cpp
            ${SIDEKICK_TRACE_TESTS}/mutations/${mutation}.patch
    DEPENDS ${CMAKE_SOURCE_DIR}/core/src/hub/hub_frames.cpp ${SIDEKICK_TRACE_TESTS}/mutations/${mutation}.patch
    COMMENT "mutating hub_frames.cpp: ${mutation}"
    VERBATIM)
  add_executable(sidekick-trace-${mutation} ${mutated} $<FILTER:$<TARGET_OBJECTS:sidekick_core>,EXCLUDE,/core/src/hub/hub_frames[.]cpp>)
  target_include_directories(sidekick-trace-${mutation} PRIVATE core/include core/src)
  target_compile_options(sidekick-trace-${mutation} PRIVATE -O1 -w)
  target_link_libraries(sidekick-trace-${mutation} PRIVATE sidekick_trace_commands sidekick_wasmtime_hub)
endforeach()
add_test(NAME trace-shrink COMMAND sh ${SIDEKICK_TRACE_TESTS}/shrink_test.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE:sidekick-trace>
  $<TARGET_FILE:sidekick-trace-differs> $<TARGET_FILE:sidekick-trace-traps>)
add_test(NAME trace-docs COMMAND sh ${SIDEKICK_TRACE_TESTS}/docs_test.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE:sidekick-trace> $<TARGET_FILE:sidekick-trace-differs>)
