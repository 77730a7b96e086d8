// Shrinks a world that fails.
#pragma once

#include "world.hpp"

namespace sidekick::cluster {

struct Shrunk {
  std::vector<Op> ops;  ///< the shortest list found that fails with the same checker
  u32 trials = 0;
};

/// ops: of a world of this seed, up to its failure.
Shrunk shrink(u64 seed, u32 steps, Checker checker, const std::vector<Op>& ops);

}  // namespace sidekick::cluster
