// The wasmtime library: found, loaded and checked at run time, so that `--runtime native` needs
// none. A build with SIDEKICK_WASMTIME_LINKED has it linked in and looks for nothing.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include <wasmtime.h>

namespace sidekick::host {

/// No library was found, or the one found cannot be used. The text says where, and how to fix it.
struct WasmtimeMissing : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// wasmtime's C API. Null until load_wasmtime() has returned.
struct WasmtimeApi {
#define SIDEKICK_WASMTIME_FUNCTION(name) decltype(&::name) name;
#include "runtime/wasmtime_functions.def"
};
extern WasmtimeApi wasmtime_api;

struct WasmtimeLibrary {
  std::string version;  // "50": the part that the library reports
  std::string file;     // its path, or "linked in"
  std::string build;    // differs between any two builds; empty if the linker wrote no build id
};

/// Loads the library once; later calls return the same one. `file`: loads only this one. Otherwise
/// loads the first that is set or exists: SIDEKICK_WASMTIME_LIBRARY (a file), WASMTIME_PREFIX
/// (lib/libwasmtime.so in it), libwasmtime.so beside this command, and the path of scripts/wasmtime
/// when this command was built. Throws WasmtimeMissing.
const WasmtimeLibrary& load_wasmtime(const std::optional<std::string>& file = std::nullopt);

}  // namespace sidekick::host
