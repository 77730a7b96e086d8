# sidekick-lua-tests: the scripts of the engine against Shard. Expects the targets sidekick_core and
# sidekick_shard, and what worker/native/native.cmake has found.
set(folder ${CMAKE_CURRENT_LIST_DIR}/lua)
add_library(sidekick_frozen_clock MODULE ${folder}/frozen_clock.cpp)
# redis-server, which loads it, has no sanitizers.
target_compile_options(sidekick_frozen_clock PRIVATE -fno-sanitize=all)
target_link_options(sidekick_frozen_clock PRIVATE -fno-sanitize=all)

add_executable(sidekick-lua-tests ${folder}/main.cpp ${folder}/calls.cpp ${folder}/redis.cpp
  ${SIDEKICK_ENGINE_SCRIPTS})
add_dependencies(sidekick-lua-tests sidekick_frozen_clock)
target_include_directories(sidekick-lua-tests PRIVATE worker/native tests/sim)
target_include_directories(sidekick-lua-tests SYSTEM PRIVATE ${HIREDIS_INCLUDE_DIR})
target_compile_definitions(sidekick-lua-tests PRIVATE
  SIDEKICK_FROZEN_CLOCK="$<TARGET_FILE:sidekick_frozen_clock>")
target_link_libraries(sidekick-lua-tests PRIVATE
  sidekick_shard sidekick_core ${HIREDIS_LIBRARY})
add_test(NAME native-lua COMMAND sidekick-lua-tests)
