// Where forwards go.
#pragma once

#include <string>

namespace sidekick::host {

struct ServerUrl {
  bool is_https = false;
  std::string host;  ///< without brackets
  std::string port;
  std::string authority;  ///< for the Host header
  std::string target;     ///< path and query, with type=channel
  std::string shown;      ///< as it may be logged: a query may hold secrets
};

/// Throws ConfigError where it is no http or https URL, or has a user or password.
ServerUrl parse_server_url(const std::string& text);

}  // namespace sidekick::host
