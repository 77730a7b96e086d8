# sidekick-shard-calls: random calls with the answers of the native Shard, for shard.test.ts.
add_executable(sidekick-shard-calls tests/module/shard_calls.cpp tests/engine/lua/calls.cpp)
target_include_directories(sidekick-shard-calls PRIVATE tests/sim)
target_link_libraries(sidekick-shard-calls PRIVATE sidekick_shard sidekick_core)
