// A module in wasmtime under replay, where this build has wasmtime.
#pragma once

#include <memory>
#include <string>

#include "trace/replay.hpp"

namespace sidekick::trace {

/// Null where the file is no module that runs, or there is no wasmtime in this build; then `error`
/// says so.
std::unique_ptr<ReplayedHub> make_wasmtime_hub(const std::string& path, std::string& error);

}  // namespace sidekick::trace
