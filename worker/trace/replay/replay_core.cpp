// sidekick-replay TRACE...: replays traces on the core itself; natively, and as a WASI command from
// this same source.
#include <cstdio>

#include "replay/core_hub.hpp"
#include "trap_place.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: sidekick-replay TRACE...\n");
    return 2;
  }
  sidekick::trace::catch_traps();
  sidekick::trace::CoreHub hub;
  const int status = sidekick::trace::replay_files(argc - 1, argv + 1, hub);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "stdout: cannot be written to\n");
  return 2;
}
