// The seam between the host and what runs the core: linked in natively, or as the module in
// wasmtime. Both speak the core's own types, made from border.def, so that the rest of the host
// cannot tell which it has.
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

/// One hub. Whatever it returns is good until the next call on it. Any call may throw Trap.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual std::span<const Action> handle(Millis now, const Input& input) = 0;
  virtual u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) = 0;

  /// The first line of a trace, without a newline: the limits stand in it.
  virtual Bytes describe() = 0;
  virtual void record(bool on) = 0;
  /// The trace lines of the latest input, made only now, so that they hold nothing back: while that
  /// input's bytes are still there, once.
  virtual Bytes recorded() = 0;
  virtual Bytes record_input(Millis now, const Input& input) = 0;
  /// A trace line with the hashes of the recorded lines and of all that the hub knows.
  virtual Bytes hash() = 0;
};

/// Makes a hub from a configuration text. Throws ConfigError when it is refused.
using CreateRuntime = std::function<std::unique_ptr<Runtime>(Bytes config)>;

CreateRuntime native_runtime();

/// What the host must know of the limits, read from describe().
struct Limits {
  u32 frame_bytes_max;
  u32 clients_max;
  u32 client_buffer_bytes_max;
  u32 forward_answer_bytes_max;
};

Limits limits_of(Runtime& runtime);

}  // namespace sidekick::host
