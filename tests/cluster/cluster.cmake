# sidekick-cluster: several hubs that share an engine (tests/cluster/README.md). Expects the targets
# sidekick_core and sidekick_shard.

set(SIDEKICK_CLUSTER_DIR ${CMAKE_CURRENT_LIST_DIR})
add_library(sidekick_cluster OBJECT
  ${SIDEKICK_CLUSTER_DIR}/main.cpp
  ${SIDEKICK_CLUSTER_DIR}/network.cpp
  ${SIDEKICK_CLUSTER_DIR}/shrink.cpp
  ${SIDEKICK_CLUSTER_DIR}/world.cpp
  ${SIDEKICK_CLUSTER_DIR}/world_checks.cpp)
target_include_directories(sidekick_cluster PUBLIC core/include)

add_executable(sidekick-cluster)
target_link_libraries(sidekick-cluster PRIVATE sidekick_cluster sidekick_shard sidekick_core)
add_test(NAME cluster-smoke COMMAND sidekick-cluster --seeds 300)
add_test(NAME cluster-itself COMMAND sh ${SIDEKICK_CLUSTER_DIR}/cluster_test.sh
  $<TARGET_FILE:sidekick-cluster>)
set_tests_properties(cluster-smoke cluster-itself PROPERTIES LABELS sim)

# Proves that each checker catches its bug, as in tests/sim.
file(GLOB mutations CONFIGURE_DEPENDS ${SIDEKICK_CLUSTER_DIR}/mutations/*.patch)
foreach(mutation IN LISTS mutations)
  get_filename_component(name ${mutation} NAME_WE)
  string(REGEX MATCH "^[a-z_]+" checker ${name})
  sidekick_add_mutant(sidekick-cluster-${name} sidekick_cluster ${mutation})
  add_test(NAME cluster-mutant-${name}
    COMMAND sh ${SIDEKICK_CLUSTER_DIR}/../sim/mutant_test.sh ${name}
      $<TARGET_FILE:sidekick-cluster-${name}> --expect ${checker} --seeds 300)
  set_tests_properties(cluster-mutant-${name} PROPERTIES LABELS mutants)
endforeach()

# From the finding to the few operations that it takes.
add_test(NAME cluster-mutant-shrinks
  COMMAND sh ${SIDEKICK_CLUSTER_DIR}/shrink_test.sh
    $<TARGET_FILE:sidekick-cluster-one_order> one_order)
set_tests_properties(cluster-mutant-shrinks PROPERTIES LABELS mutants)
