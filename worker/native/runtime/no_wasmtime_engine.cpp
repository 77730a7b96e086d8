// In place of wasmtime_engine.cpp where wasmtime's C API was missing when this was built.
#include "errors.hpp"
#include "runtime/wasmtime_engine.hpp"

namespace sidekick::host {

CreateEngine wasmtime_engine(const std::optional<std::string>&, Log&) {
  throw UsageError(
      "--engine wasmtime: this command was built without wasmtime: run scripts/setup and "
      "scripts/build, or choose --engine native");
}

}  // namespace sidekick::host
