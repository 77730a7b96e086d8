// Errors that keep a server from starting, classified by what the operator has to do, and the text
// of system errors.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace sidekick::host {

/// The command line or configuration is invalid: exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The hub rejects its configuration. The message has no prefix: the catcher knows where the
/// setting came from.
struct ConfigError : UsageError {
  using UsageError::UsageError;
};

/// The environment does not allow it: exit status 1.
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
