#include "runtime/wasmtime_runtime.hpp"

#include <filesystem>

#include "errors.hpp"
#include "runtime/module_cache.hpp"
#include "runtime/module_runtime.hpp"

namespace sidekick::host {

namespace {

/// Shared by all hubs of a process.
struct Sandbox {
  WasmEnginePtr engine;
  ModulePtr module;
};

const WasmtimeLibrary& loaded_wasmtime(const std::optional<std::string>& file) try {
  return load_wasmtime(file);
} catch (const WasmtimeMissing& missing) {
  throw StartError(std::string("--runtime wasmtime: ") + missing.what() +
                   ", or use --runtime native");
}

}  // namespace

/// Beside this command, or in a checkout.
std::string find_module(const WasmtimeOptions& options) {
  if (options.module_file) return *options.module_file;
  const std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& file : {folder / "sidekick.wasm", folder.parent_path() / "sidekick.wasi.wasm"}) {
    if (std::filesystem::exists(file)) return file.string();
  }
  return {};
}

CreateRuntime wasmtime_runtime(const WasmtimeOptions& options, Log& log) {
  const std::string file = find_module(options);
  if (file.empty())
    throw StartError(
        "the module was not found beside this command: set --module FILE (in a checkout "
        "scripts/build builds it)");
  const WasmtimeLibrary& library = loaded_wasmtime(options.library_file);
  log.info("the core runs in wasmtime",
           {{"version", library.version}, {"library", library.file}, {"build", library.build}});
  const auto sandbox = std::make_shared<Sandbox>();
  sandbox->engine = new_wasm_engine();
  try {
    sandbox->module = load_module(*sandbox->engine, file, library.build, log);
  } catch (const ModuleError& error) {
    throw StartError("--module " + file + ": " + error.what());
  }
  return [sandbox](Bytes config) {
    return module_runtime(*sandbox->engine, *sandbox->module, config);
  };
}

}  // namespace sidekick::host
