// The core as a WebAssembly module in wasmtime: a bug in it is a trap, which ends neither this
// process nor anything else in it. Knows no files and no flags. Call load_wasmtime() first.
#pragma once

#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "runtime/runtime.hpp"
#include "runtime/wasmtime_library.hpp"

namespace sidekick::host {

/// The file is not a Sidekick module, or has another ABI version. The text says which.
struct ModuleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct FreeWasmEngine {
  void operator()(wasm_engine_t* engine) const { wasmtime_api.wasm_engine_delete(engine); }
};
using WasmEnginePtr = std::unique_ptr<wasm_engine_t, FreeWasmEngine>;

struct FreeModule {
  void operator()(wasmtime_module_t* module) const { wasmtime_api.wasmtime_module_delete(module); }
};
using ModulePtr = std::unique_ptr<wasmtime_module_t, FreeModule>;

/// wasmtime, configured so that a module computes the same bytes on every machine.
WasmEnginePtr new_wasm_engine();

/// Throws ModuleError.
ModulePtr compile_module(wasm_engine_t& engine, std::string_view wasm);

/// Creates an instance and drops it. Throws ModuleError if it is not a Sidekick module.
void check_module(wasm_engine_t& engine, wasmtime_module_t& module);

/// A hub of its own in a new instance. Throws ConfigError and ModuleError.
std::unique_ptr<Runtime> module_runtime(wasm_engine_t& engine, wasmtime_module_t& module,
                                        Bytes config);

/// Returns the message of an error in one line, and frees it.
std::string take_message(wasmtime_error_t* error);

}  // namespace sidekick::host
