// The module compiled ahead of time, kept in a file beside it. A cache that is damaged, of another
// module or of another build of wasmtime is replaced; it is never trusted before its digest has
// been checked, since wasmtime does not check the code it loads.
#pragma once

#include <string>
#include <string_view>

#include "log.hpp"
#include "runtime/module_runtime.hpp"

namespace sidekick::host {

/// `build`: of the wasmtime library. Another one may compile differently, e.g. with a bug fixed.
/// Throws StartError if the file cannot be read, and ModuleError if it is no module.
ModulePtr load_module(wasm_engine_t& engine, const std::string& file, std::string_view build,
                      Log& log);

}  // namespace sidekick::host
