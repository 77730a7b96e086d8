// The module compiled ahead of time, stored in a file beside it. A cache file that another user may
// have written is never loaded. Such a file, a damaged one, and one of another module or another
// build of wasmtime are replaced. The digest is checked first, since wasmtime does not check the
// code it loads.
#pragma once

#include <string>
#include <string_view>

#include "log.hpp"
#include "runtime/module_runtime.hpp"

namespace sidekick::host {

/// `build`: of the wasmtime library. Another one may compile differently, e.g. with a bug fixed.
/// Throws StartError if the file cannot be read, and ModuleError if it is not a Sidekick module.
ModulePtr load_module(wasm_engine_t& engine, const std::string& file, std::string_view build,
                      Log& log);

}  // namespace sidekick::host
