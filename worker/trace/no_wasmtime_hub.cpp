#include "wasmtime_hub.hpp"

namespace sidekick::trace {

std::unique_ptr<ReplayedHub> make_wasmtime_hub(const std::string&, std::string& error) {
  error =
      "this build of sidekick-trace has no runtime for modules: use a native build with wasmtime "
      "(scripts/setup installs it), or covenant-sidekick-replay --module FILE TRACE";
  return nullptr;
}

}  // namespace sidekick::trace
