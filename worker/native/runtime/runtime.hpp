// The interface between the host and the runtime of the core: linked in natively, or as the module
// in wasmtime. Both use the core's own types, generated from border.def, so that the rest of the
// host does not depend on which one it has.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "sidekick/border.hpp"

namespace sidekick::host {

/// A bug of the module: this runtime is broken, drop it.
struct Trap : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One hub. Results are valid until the next call on it. Any call may throw Trap.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual std::span<const Action> handle(Millis now, const Input& input) = 0;
  virtual u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) = 0;

  /// The first line of a trace, without a newline; it contains the limits.
  virtual Bytes describe() = 0;
  virtual void record(bool on) = 0;
  /// The trace lines of the latest input, formatted only now, so that recording does not delay its
  /// actions. Call it once, before the next input.
  virtual Bytes recorded() = 0;
  virtual Bytes record_input(Millis now, const Input& input) = 0;
  /// A trace line with the hashes of the recorded lines and of the hub's whole state.
  virtual Bytes hash() = 0;
};

/// Creates a hub from a configuration text. Throws ConfigError if it is invalid.
using CreateRuntime = std::function<std::unique_ptr<Runtime>(Bytes config)>;

CreateRuntime native_runtime();

/// The limits that the host needs, read from describe().
struct Limits {
  u32 frame_bytes_max;
  u32 clients_max;
  u32 client_buffer_bytes_max;
  u32 forward_answer_bytes_max;
};

Limits limits_of(Runtime& runtime);

}  // namespace sidekick::host
