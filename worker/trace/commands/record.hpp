// The recording of inputs anew, as `record` does it and as shrink has it done in a child process.
#pragma once

#include <cstdio>

#include "trace/replay.hpp"

namespace sidekick::trace {

/// Writes each header and input that comes, and what the hub says to it. At a hash line it writes
/// its own and everything is flushed: whoever asks with one waits for it. Returns 0, or 2 after an
/// error was told.
int record_stream(std::istream& in, const char* path, std::FILE* out, ReplayedHub& hub);

}  // namespace sidekick::trace
