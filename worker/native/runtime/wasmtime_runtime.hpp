// The core as the WebAssembly module in wasmtime, for the server: finds the library, the module and
// its compiled form, and reports errors in them.
#pragma once

#include <optional>
#include <string>

#include "log.hpp"
#include "runtime/runtime.hpp"

namespace sidekick::host {

struct WasmtimeOptions {
  std::optional<std::string> library_file;  // default: load_wasmtime() looks for it
  std::optional<std::string> module_file;   // default: the one built with this command
};

/// The file of the module; empty if it was not found beside this command.
std::string find_module(const WasmtimeOptions& options);

/// Throws StartError if the library or the module cannot be used.
CreateRuntime wasmtime_runtime(const WasmtimeOptions& options, Log& log);

}  // namespace sidekick::host
