# The native tests and fuzzers. Debian's doctest and nlohmann_json.
enable_testing()
find_package(doctest REQUIRED)
include(doctest)
option(SIDEKICK_FUZZERS "Build the libFuzzer targets (clang)" OFF)

# The tests' own ION reader and writer, independent of the core's.
add_library(sidekick_ion_value STATIC
  tests/ion/value/value.cpp tests/ion/value/value_date.cpp tests/ion/value/value_parse.cpp
  tests/ion/value/value_print.cpp)
target_include_directories(sidekick_ion_value PUBLIC core/include tests/ion)

# Reads one ION document per line: tests/ion compares its answers with the reference.
add_executable(ion_check tests/ion/ion_check.cpp)
target_link_libraries(ion_check PRIVATE sidekick_ion_value sidekick_core)

# The hub under test with a clock and rows, for unit tests and fuzzers.
add_library(sidekick_scenario STATIC tests/core/unit/scenario.cpp tests/core/unit/random_talk.cpp)
target_include_directories(sidekick_scenario PUBLIC core/include tests/core/unit)

set(SIDEKICK_TRACES "${CMAKE_CURRENT_SOURCE_DIR}/tests/core/traces")
add_executable(sidekick-unit-tests
  tests/core/unit/main.cpp
  tests/core/unit/config_test.cpp
  tests/core/unit/conversation.cpp
  tests/core/unit/conversation_test.cpp
  tests/core/unit/hand_over_test.cpp
  tests/core/unit/heap_test.cpp
  tests/core/unit/hostile_test.cpp
  tests/core/unit/http_test.cpp
  tests/core/unit/ion_value_test.cpp
  tests/core/unit/limits_test.cpp
  tests/core/unit/reader_test.cpp
  tests/core/unit/rejoin_test.cpp
  tests/core/unit/restore_test.cpp
  tests/core/unit/shard_restore_test.cpp
  tests/core/unit/shard_test.cpp
  tests/core/unit/structures_test.cpp
  tests/core/unit/token_states_test.cpp
  tests/core/unit/trace_test.cpp
  tests/ion/ion_corpus_test.cpp
  tests/ion/ion_json_test.cpp)
# core/src: the structures have tests of their own.
target_include_directories(sidekick-unit-tests PRIVATE core/src)
target_compile_definitions(sidekick-unit-tests PRIVATE
  DOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS
  SIDEKICK_CONVERSATIONS="${CMAKE_CURRENT_SOURCE_DIR}/tests/core/conversations"
  SIDEKICK_TRACES="${SIDEKICK_TRACES}"
  SIDEKICK_ION_CORPUS="${CMAKE_CURRENT_SOURCE_DIR}/tests/ion/corpus")
target_link_libraries(sidekick-unit-tests PRIVATE
  sidekick_scenario sidekick_trace sidekick_ion_value sidekick_shard sidekick_core doctest::doctest
  nlohmann_json::nlohmann_json)
# Each conversation is a separate test: ctest -R conversation.tokens
add_test(NAME unit COMMAND sidekick-unit-tests "--test-case-exclude=conversation.*")
file(GLOB conversations CONFIGURE_DEPENDS tests/core/conversations/*.txt)
set_target_properties(sidekick-unit-tests PROPERTIES
  LINK_DEPENDS "${conversations}")  # discovers them again
doctest_discover_tests(sidekick-unit-tests TEST_SPEC "conversation.*")

# The golden traces, through the command that users run.
add_test(NAME replay COMMAND sh -c "exec \"$1\" replay \"$2\"/*.jsonl" sh
  "$<TARGET_FILE:sidekick-trace>" "${SIDEKICK_TRACES}")
add_test(NAME replay-refuses COMMAND sh "${SIDEKICK_TRACES}/replay_test.sh"
  "$<TARGET_FILE:sidekick-trace>" "${SIDEKICK_TRACES}")

include(tests/sim/sim.cmake)
include(tests/cluster/cluster.cmake)
if(SIDEKICK_QUICK)
  return()
endif()
if(TARGET sidekick-session-tests)
  target_link_libraries(sidekick-session-tests PRIVATE doctest::doctest)
  add_test(NAME native-session COMMAND sidekick-session-tests)
  target_link_libraries(sidekick-redis-tests PRIVATE doctest::doctest)
  add_test(NAME native-redis COMMAND sidekick-redis-tests)
  include(tests/engine/engine.cmake)
endif()
include(tests/module/shard.cmake)
include(tests/module/wasmtime.cmake)
include(tests/trace/trace.cmake)
include(tests/fuzz/fuzz.cmake)
include(tests/bench/bench.cmake)
