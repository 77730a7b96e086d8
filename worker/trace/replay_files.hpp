// Replays files and prints the results, for the command `replay` and for the tests of modules.
#pragma once

#include "trace/replay.hpp"

namespace sidekick::trace {

/// Adds details to the report of a difference.
class Witness : public Onlooker {
 public:
  /// The end of the report. `hash`: the hub's hash line, empty before its first input.
  virtual void on_difference(const ReplayResult& result, const std::string& hash) = 0;
};

/// Replays each file and prints the outcome, and where a recording was cut off. Returns the exit
/// status: 0 the same, 1 a difference, 2 a trace that cannot be read.
int replay_files(int count, char** paths, ReplayedHub& hub, Witness* witness = nullptr);

}  // namespace sidekick::trace
