// Records inputs again, for `record` and for shrink's child processes.
#pragma once

#include <cstdio>

#include "trace/replay.hpp"

namespace sidekick::trace {

/// Writes each header and input that comes, and the hub's actions. At a hash line it writes its own
/// and flushes everything, since the sender waits for it. Returns 0, or 2 after it printed an
/// error.
int record_stream(std::istream& in, const char* path, std::FILE* out, ReplayedHub& hub);

}  // namespace sidekick::trace
