// The core as the WebAssembly module, in wasmtime: a bug in it is a trap, and ends neither this
// process nor anything in it.
#pragma once

#include <optional>
#include <string>

#include "log.hpp"
#include "runtime/engine.hpp"

namespace sidekick::host {

/// module_file: default, the one that was built with this command. Throws StartError where it
/// cannot be used.
CreateEngine wasmtime_engine(const std::optional<std::string>& module_file, Log& log);

}  // namespace sidekick::host
