// The module compiled ahead of time, kept in a file beside it. A cache that is damaged, of another
// module or of another wasmtime is made anew; it is never trusted before its digest has been
// checked, since wasmtime does not check the code it loads.
#pragma once

#include <memory>
#include <string>

#include <wasmtime.h>

#include "log.hpp"

namespace sidekick::host {

struct FreeModule {
  void operator()(wasmtime_module_t* module) const { wasmtime_module_delete(module); }
};
using ModulePtr = std::unique_ptr<wasmtime_module_t, FreeModule>;

/// Throws StartError where the file is no module.
ModulePtr load_module(wasm_engine_t& engine, const std::string& file, Log& log);

/// The message of an error, which it frees.
std::string take_message(wasmtime_error_t* error);

}  // namespace sidekick::host
