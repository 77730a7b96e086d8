// The interface between the host and the runtime of the core: linked in natively, or as the module
// in wasmtime. Both use the core's own types, generated from border.def, so that the rest of the
// host does not depend on which one it has.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "sidekick/hub.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::host {

/// A bug of the module: this runtime is broken, drop it.
struct Trap : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Why no hub answers.
enum class NoAnswer : unsigned char {
  trapped,  ///< the hub trapped on this input, or before it had answered
  no_hub,   ///< there is none for now
};

/// The effective limits of a hub, in the order of limits.def.
struct Limits {
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason) u32 name;
#include "sidekick/limits.def"
};

/// One hub. Results are valid until the next call on it. Any call may throw Trap.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual std::span<const Action> handle(Millis now, const Input& input) = 0;
  /// `request`: as it will be passed to handle(), without its body. `protocol` points into its
  /// headers, or is valid until the next call.
  virtual Verdict admit(const input::HttpRequest& request) = 0;
  virtual Limits limits() = 0;

  /// The first line of a trace of this format, without a newline.
  virtual Bytes describe(u32 format = trace::format_version) = 0;
  /// Records the lines of this format; 0: none.
  virtual void record(u32 format) = 0;
  /// The trace lines of the latest input, formatted only now, so that recording does not delay its
  /// actions. Call it once, before the next input.
  virtual Bytes recorded() = 0;
  virtual Bytes record_input(Millis now, const Input& input) = 0;
  /// The answer to a request with the verdict `metrics`, before the families of the host.
  virtual Bytes metrics() = 0;
  /// Of a module; 0: linked in.
  virtual std::size_t memory_bytes() = 0;
  /// A trace line with the hashes of the recorded lines and of the hub's whole state.
  virtual Bytes hash() = 0;
};

/// Creates a hub from a configuration text. Throws ConfigError if it is invalid.
using CreateRuntime = std::function<std::unique_ptr<Runtime>(Bytes config)>;

CreateRuntime native_runtime();

}  // namespace sidekick::host
