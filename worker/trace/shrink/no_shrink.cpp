// shrink on systems without processes.
#include "command.hpp"

namespace sidekick::trace {

int shrink(const Told&) {
  return unusable("shrink",
                  "needs child processes, which WASI does not have: use the native sidekick-trace "
                  "(scripts/build, build/native/sidekick-trace)");
}

}  // namespace sidekick::trace
