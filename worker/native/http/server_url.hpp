// The app server's URL, parsed, and where its redirects lead.
#pragma once

#include <optional>
#include <string>

namespace sidekick::host {

struct ServerUrl {
  bool is_https = false;
  std::string host;  ///< without brackets
  std::string port;
  std::string authority;  ///< for the Host header
  std::string target;     ///< path and query, with type=channel
  std::string shown;      ///< in a form that may be logged: a query may hold secrets

  bool is_same_origin(const ServerUrl& other) const {
    return is_https == other.is_https && host == other.host && port == other.port;
  }
};

/// Throws ConfigError unless it is an http or https URL without user name and password.
ServerUrl parse_server_url(const std::string& text);

/// location: relative to `from`, as a Location header may be. nullopt: it leads nowhere.
std::optional<ServerUrl> redirected(const ServerUrl& from, const std::string& location);

}  // namespace sidekick::host
