# The fuzz targets, twice: as plain programs that replay files (every compiler; run by ctest), and
# with libFuzzer (clang, SIDEKICK_FUZZERS). Expects the targets sidekick_core and
# sidekick_shard, sidekick_ion_value, and nlohmann_json.

set(SIDEKICK_FUZZ_DIR ${CMAKE_SOURCE_DIR}/tests/fuzz)
set(SIDEKICK_FUZZ_SEEDS_ion ${CMAKE_BINARY_DIR}/ion-corpus)
set(corpus ${CMAKE_SOURCE_DIR}/tests/ion/corpus)
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/ion-corpus.made
  COMMAND python3 ${corpus}.py ${CMAKE_BINARY_DIR}/ion-corpus
  COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/ion-corpus.made
  DEPENDS ${corpus}.py ${corpus}/accept.txt ${corpus}/reject.txt
  VERBATIM)
add_custom_target(ion_corpus ALL DEPENDS ${CMAKE_BINARY_DIR}/ion-corpus.made)
set(SIDEKICK_FUZZ_SEEDS_config ${SIDEKICK_FUZZ_DIR}/seeds/config)
set(SIDEKICK_FUZZ_SEEDS_hub ${SIDEKICK_FUZZ_DIR}/seeds/hub)
set(SIDEKICK_FUZZ_SEEDS_shard ${SIDEKICK_FUZZ_DIR}/seeds/shard)

if(SIDEKICK_FUZZERS)
  # The code under test reports the edges it took to the fuzzer.
  target_compile_options(sidekick_core PRIVATE -fsanitize=fuzzer-no-link)
  target_compile_options(sidekick_shard PRIVATE -fsanitize=fuzzer-no-link)
  target_compile_options(sidekick_ion_value PRIVATE -fsanitize=fuzzer-no-link)
endif()

foreach(name ion config hub shard)
  set(programs fuzz_replay_${name})
  add_executable(fuzz_replay_${name}
    ${SIDEKICK_FUZZ_DIR}/${name}_fuzz.cpp ${SIDEKICK_FUZZ_DIR}/replay.cpp)
  if(SIDEKICK_FUZZERS)
    add_executable(${name}_fuzz ${SIDEKICK_FUZZ_DIR}/${name}_fuzz.cpp)
    target_compile_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    list(APPEND programs ${name}_fuzz)
  endif()
  foreach(program IN LISTS programs)
    target_include_directories(${program} PRIVATE core/src ${SIDEKICK_FUZZ_DIR})
    target_link_libraries(${program} PRIVATE
      sidekick_shard sidekick_core sidekick_ion_value nlohmann_json::nlohmann_json)
  endforeach()

  # Earlier findings, the seeds, and thousands of mutations of them, the same every time.
  set(regressions ${SIDEKICK_FUZZ_DIR}/regressions/${name})
  if(NOT EXISTS ${regressions})
    set(regressions)
  endif()
  add_test(NAME fuzz_${name} COMMAND fuzz_replay_${name} --mutations 100
    ${SIDEKICK_FUZZ_SEEDS_${name}} ${regressions})
endforeach()
