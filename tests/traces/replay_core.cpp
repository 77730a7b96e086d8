// sidekick-replay TRACE...: replays traces on the core itself; natively, and as a WASI command from this same source.
#include <cstdio>

#include "core_hub.hpp"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: sidekick-replay TRACE...\n");
    return 2;
  }
  sidekick::trace::CoreHub hub;
  return sidekick::trace::replay_files(argc - 1, argv + 1, hub);
}
