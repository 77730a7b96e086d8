# sidekick-sim: the simulator (tests/sim/README.md). Expects the target sidekick_core.

set(SIDEKICK_SIM_DIR ${CMAKE_CURRENT_LIST_DIR})
add_library(sidekick_sim OBJECT
  ${SIDEKICK_SIM_DIR}/crowd.cpp
  ${SIDEKICK_SIM_DIR}/main.cpp
  ${SIDEKICK_SIM_DIR}/memory.cpp
  ${SIDEKICK_SIM_DIR}/model.cpp
  ${SIDEKICK_SIM_DIR}/model_forwards.cpp
  ${SIDEKICK_SIM_DIR}/model_frames.cpp
  ${SIDEKICK_SIM_DIR}/model_hello.cpp
  ${SIDEKICK_SIM_DIR}/model_missed.cpp
  ${SIDEKICK_SIM_DIR}/model_http.cpp
  ${SIDEKICK_SIM_DIR}/rescue.cpp
  ${SIDEKICK_SIM_DIR}/script.cpp
  ${SIDEKICK_SIM_DIR}/shared.cpp
  ${SIDEKICK_SIM_DIR}/shared_checks.cpp
  ${SIDEKICK_SIM_DIR}/shrink.cpp
  ${SIDEKICK_SIM_DIR}/story.cpp
  ${SIDEKICK_SIM_DIR}/swarm.cpp
  ${SIDEKICK_SIM_DIR}/trial.cpp
  ${SIDEKICK_SIM_DIR}/trial_checks.cpp
  ${SIDEKICK_SIM_DIR}/trial_requests.cpp
  ${SIDEKICK_SIM_DIR}/trial_store.cpp
  ${SIDEKICK_SIM_DIR}/twin.cpp
  ${SIDEKICK_SIM_DIR}/words.cpp)
# Not core/src: the model shares nothing with the core.
target_include_directories(sidekick_sim PUBLIC core/include)

add_executable(sidekick-sim)
target_link_libraries(sidekick-sim PRIVATE sidekick_sim sidekick_shard sidekick_core)
add_test(NAME sim-smoke COMMAND sidekick-sim --seeds 500)
# The same worlds with a second hub, which shares an engine.
add_test(NAME sim-shared COMMAND sidekick-sim --seeds 200 --engine 1)
add_test(NAME sim-shared-3 COMMAND sidekick-sim --seeds 200 --engine 3)

# Proves that each checker catches its bug: the core with one small mutation,
# sidekick-sim-<checker>[-<which>], built for this test only:
#   cmake --build <dir> --target sim-mutants, then ctest -L mutants
# A variation is not a bug, but uses a freedom that the border leaves: it must not cause a finding.
find_program(SIDEKICK_PATCH patch)
add_custom_target(sim-mutants)
# Most of the time to compile one goes into the headers, so all of them share these.
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/mutants/headers.cpp CONTENT "")
add_library(sidekick_mutant_headers OBJECT EXCLUDE_FROM_ALL
  ${CMAKE_CURRENT_BINARY_DIR}/mutants/headers.cpp)
set(SIDEKICK_MUTANT_OPTIONS -O1 -w)  # a mutation may leave unused code
target_include_directories(sidekick_mutant_headers PRIVATE core/include core/src)
target_compile_options(sidekick_mutant_headers PRIVATE ${SIDEKICK_MUTANT_OPTIONS})
target_precompile_headers(sidekick_mutant_headers PRIVATE
  <algorithm> core/src/hub/state.hpp core/src/ion/writer.hpp)
# One object file, linked with those of the core.
function(sidekick_add_mutant target simulator mutation)
  file(STRINGS ${mutation} first LIMIT_COUNT 1)
  string(REGEX REPLACE "^--- a/" "" source ${first})
  get_filename_component(file ${source} NAME)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/mutants/${target})
  add_custom_command(OUTPUT ${folder}/${file}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
    COMMAND patch --quiet --force --no-backup-if-mismatch --output=${folder}/${file}
            ${CMAKE_SOURCE_DIR}/${source} ${mutation}
    DEPENDS ${CMAKE_SOURCE_DIR}/${source} ${mutation}
    COMMENT "mutating ${file}: ${target}"
    VERBATIM)
  string(REPLACE "." "[.]" pattern "/${source}")
  add_executable(${target} EXCLUDE_FROM_ALL ${folder}/${file}
    $<FILTER:$<TARGET_OBJECTS:sidekick_core>,EXCLUDE,${pattern}>)
  target_include_directories(${target} PRIVATE core/include core/src)
  target_compile_options(${target} PRIVATE ${SIDEKICK_MUTANT_OPTIONS})
  target_precompile_headers(${target} REUSE_FROM sidekick_mutant_headers)
  target_link_libraries(${target} PRIVATE ${simulator} sidekick_shard)
  add_dependencies(sim-mutants ${target})
endfunction()
file(GLOB mutations CONFIGURE_DEPENDS
  ${SIDEKICK_SIM_DIR}/mutations/*.patch ${SIDEKICK_SIM_DIR}/variations/*.patch)
foreach(mutation IN LISTS mutations)
  get_filename_component(name ${mutation} NAME_WE)
  string(REGEX MATCH "^[a-z_]+" checker ${name})
  sidekick_add_mutant(sidekick-sim-${name} sidekick_sim ${mutation})
  set(asked --expect ${checker} --no-shrink)
  if(name MATCHES "^shared_same-shards")
    list(APPEND asked --engine 3)
  elseif(checker STREQUAL shared_same)
    list(APPEND asked --engine 1)
  endif()
  if(mutation MATCHES "/variations/")
    set(asked "")
  endif()
  add_test(NAME sim-mutant-${name}
    COMMAND sh ${SIDEKICK_SIM_DIR}/mutant_test.sh ${name}
      $<TARGET_FILE:sidekick-sim-${name}> ${asked} --seeds 500)
  set_tests_properties(sim-mutant-${name} PROPERTIES LABELS mutants)
endforeach()

# The simulator's own guarantees; with a mutation, from the finding to its trace.
add_test(NAME sim-itself COMMAND sh ${SIDEKICK_SIM_DIR}/sim_test.sh
  $<TARGET_FILE:sidekick-sim> $<TARGET_FILE:sidekick-trace>)
foreach(name forward_order timer-endless)
  string(REGEX MATCH "^[a-z_]+" checker ${name})
  add_test(NAME sim-mutant-shrinks-${name}
    COMMAND sh ${SIDEKICK_SIM_DIR}/sim_test.sh
  $<TARGET_FILE:sidekick-sim> $<TARGET_FILE:sidekick-trace>
            $<TARGET_FILE:sidekick-sim-${name}> ${checker})
  set_tests_properties(sim-mutant-shrinks-${name} PROPERTIES LABELS mutants)
endforeach()
set_tests_properties(sim-smoke sim-shared sim-shared-3 sim-itself PROPERTIES LABELS sim)
