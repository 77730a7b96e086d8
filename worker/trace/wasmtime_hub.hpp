// A module in wasmtime under replay, in builds with wasmtime.
#pragma once

#include <memory>
#include <string>

#include "trace/replay.hpp"

namespace sidekick::trace {

/// Null if the file is not a usable module, or if this build has no wasmtime; then `error` has the
/// reason.
std::unique_ptr<ReplayedHub> make_wasmtime_hub(const std::string& path, std::string& error);

}  // namespace sidekick::trace
