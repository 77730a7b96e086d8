// sidekick-replay-wasmtime MODULE.wasm TRACE...: replays traces on a module in wasmtime, through
// its C API.
#include <cstdio>

#include "replay_files.hpp"
#include "wasmtime_hub.hpp"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: sidekick-replay-wasmtime MODULE.wasm TRACE...\n");
    return 2;
  }
  std::string error;
  const auto hub = sidekick::trace::make_wasmtime_hub(argv[1], error);
  if (hub == nullptr) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.c_str());
    return 2;
  }
  return sidekick::trace::replay_files(argc - 2, argv + 2, *hub);
}
