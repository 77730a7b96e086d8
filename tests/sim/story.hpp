// One seed from start to end: a world from its swarm, one op after the other, until a checker fails
// or everyone has left and nothing remains.
#pragma once

#include "crowd.hpp"

namespace sidekick::sim {

struct Story {
  Swarm swarm;
  Words words;
  std::vector<Op> ops;  ///< all ops so far
  std::optional<Failure> failure;
  u64 inputs = 0;
  u64 digest = 0;

  explicit Story(Swarm from) : swarm(std::move(from)), words(swarm) {}

  void run(bool is_canary);
};

/// Runs the same ops, or some of them, on a new hub.
std::optional<Failure> retell(const Story& story, const std::vector<Op>& ops, bool is_canary,
                              std::string* trace = nullptr);

}  // namespace sidekick::sim
