// What can keep a server from starting, by what the operator has to do about it; and how errors of
// the system are told.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace sidekick::host {

/// A mistake in how the command was called or configured: exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The hub refuses its configuration. Without prefix: whoever catches it knows where the setting
/// came from.
struct ConfigError : UsageError {
  using UsageError::UsageError;
};

/// The surroundings do not allow it: exit status 1.
struct StartError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// "ENOENT: No such file or directory"
inline std::string errno_text(int number) {
  const char* name = strerrorname_np(number);
  return std::string(name != nullptr ? name : "error " + std::to_string(number)) + ": " +
         strerrordesc_np(number);
}

}  // namespace sidekick::host
