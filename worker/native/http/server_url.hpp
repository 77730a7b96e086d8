// The app server's URL, parsed.
#pragma once

#include <string>

namespace sidekick::host {

struct ServerUrl {
  bool is_https = false;
  std::string host;  ///< without brackets
  std::string port;
  std::string authority;  ///< for the Host header
  std::string target;     ///< path and query, with type=channel
  std::string shown;      ///< in a form that may be logged: a query may hold secrets
};

/// Throws ConfigError unless it is an http or https URL without user name and password.
ServerUrl parse_server_url(const std::string& text);

}  // namespace sidekick::host
