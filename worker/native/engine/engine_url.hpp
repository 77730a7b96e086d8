// The URL of the engine, parsed and in a form that may be logged.
#pragma once

#include <string>

namespace sidekick::host {

struct EngineUrl {
  bool is_tls = false;
  std::string host;  ///< without brackets
  std::string port;
  std::string user;      ///< empty: the default one
  std::string password;  ///< empty: none
  unsigned database = 0;
  std::string shown;  ///< without user and password
};

/// name: the flag or variable, for the error. Throws UsageError. The error never shows the text,
/// which may contain a password.
EngineUrl parse_engine_url(const std::string& name, const std::string& text);

}  // namespace sidekick::host
