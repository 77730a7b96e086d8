#include "shrink.hpp"

#include "../sim/drop_chunks.hpp"

namespace sidekick::cluster {

Shrunk shrink(u64 seed, u32 steps, Checker checker, const std::vector<Op>& ops) {
  constexpr u32 trials_max = 5000;
  Shrunk shrunk{ops};
  const auto attempt = [&](const std::vector<Op>& candidate) {
    if (shrunk.trials == trials_max) return;
    ++shrunk.trials;
    World world(seed, steps, &candidate);
    const std::optional<Failure> failure = world.run();
    if (failure && failure->checker == checker) shrunk.ops = world.ops();
  };
  while (sim::drop_chunks(shrunk.ops, attempt)) {
  }
  return shrunk;
}

}  // namespace sidekick::cluster
