// Where the engine is: the URL of --engine, parsed, and in a form that may be logged.
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

/// name: of the flag or variable, for the error. Throws UsageError, which never shows the text: it
/// may hold a password.
EngineUrl parse_engine_url(const std::string& name, const std::string& text);

}  // namespace sidekick::host
