# Native targets: tests, tools, fuzzers. Debian's doctest and nlohmann_json.
enable_testing()
find_package(doctest REQUIRED)
find_package(nlohmann_json REQUIRED)
option(SIDEKICK_FUZZERS "Build the libFuzzer targets (clang)" OFF)
option(SIDEKICK_TIDY "Warnings are errors" OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # GCC bug 105651: false alarms on std::string
endif()
if(SIDEKICK_TIDY)
  add_compile_options(-Werror)
endif()

target_compile_options(sidekick_core PRIVATE $<$<CONFIG:Release>:-O2>)

# ION values in memory: for C++ users, tools and tests; the hub does without.
add_library(sidekick_ion_value STATIC
  core/src/ion/value.cpp core/src/ion/value_date.cpp core/src/ion/value_parse.cpp core/src/ion/value_print.cpp)
target_include_directories(sidekick_ion_value PUBLIC core/include)

# Reading and replaying traces: for the replay commands, the tests and the fuzzers.
add_library(sidekick_trace_reader STATIC core/trace/trace_reader.cpp core/trace/replay.cpp)
target_include_directories(sidekick_trace_reader PUBLIC core/include core/trace)
target_link_libraries(sidekick_trace_reader PRIVATE nlohmann_json::nlohmann_json)

add_executable(sidekick-replay core/trace/replay_core.cpp)
target_link_libraries(sidekick-replay PRIVATE sidekick_trace_reader sidekick_core)

# One ION document a line: what tests/ion compares with the reference.
add_executable(ion_check tests/ion/ion_check.cpp)
target_link_libraries(ion_check PRIVATE sidekick_ion_value sidekick_core)

# The hub under test with its clock and rows, for unit tests and fuzzers.
add_library(sidekick_scenario STATIC tests/unit/scenario.cpp tests/unit/random_talk.cpp)
target_include_directories(sidekick_scenario PUBLIC core/include tests/unit)

set(SIDEKICK_TRACES "${CMAKE_CURRENT_SOURCE_DIR}/tests/traces")
add_executable(sidekick-unit-tests
  tests/unit/main.cpp
  tests/unit/config_test.cpp
  tests/unit/conversation.cpp
  tests/unit/conversation_test.cpp
  tests/unit/heap_test.cpp
  tests/unit/hostile_test.cpp
  tests/unit/http_test.cpp
  tests/unit/ion_value_test.cpp
  tests/unit/limits_test.cpp
  tests/unit/reader_test.cpp
  tests/unit/restore_test.cpp
  tests/unit/structures_test.cpp
  tests/unit/trace_test.cpp
  tests/ion/ion_corpus_test.cpp
  tests/ion/ion_json_test.cpp)
target_include_directories(sidekick-unit-tests PRIVATE core/src)  # the structures have tests of their own
target_compile_definitions(sidekick-unit-tests PRIVATE
  DOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS
  SIDEKICK_CONVERSATIONS="${CMAKE_CURRENT_SOURCE_DIR}/tests/unit/conversations"
  SIDEKICK_TRACES="${SIDEKICK_TRACES}"
  SIDEKICK_ION_CORPUS="${CMAKE_CURRENT_SOURCE_DIR}/tests/ion/corpus")
target_link_libraries(sidekick-unit-tests PRIVATE
  sidekick_scenario sidekick_trace_reader sidekick_ion_value sidekick_core doctest::doctest nlohmann_json::nlohmann_json)
add_test(NAME unit COMMAND sidekick-unit-tests)

# The golden traces through the command that a user has.
add_test(NAME replay COMMAND sh -c "exec \"$1\" \"$2\"/*.jsonl" sh "$<TARGET_FILE:sidekick-replay>" "${SIDEKICK_TRACES}")
add_test(NAME replay-refuses COMMAND sh "${SIDEKICK_TRACES}/replay_test.sh" "$<TARGET_FILE:sidekick-replay>" "${SIDEKICK_TRACES}")

include(tests/sim/sim.cmake)
include(tests/wasi/wasmtime.cmake)
include(core/trace-tool/trace-tool.cmake)
include(tests/fuzz/fuzz.cmake OPTIONAL)
include(tests/bench/bench.cmake OPTIONAL)
