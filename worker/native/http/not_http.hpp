// Connections that do not speak the protocol of this port. Without a line in the log, an operator
// has no hint: the peer sees 400, or nothing.
#pragma once

#include <string>
#include <string_view>

#include "log.hpp"

namespace sidekick::host {

/// bytes: where a parser of HTTP/1.1 has failed.
void report_not_http(Log& log, std::string_view bytes, const std::string& remote);

/// why: the error of the TLS handshake.
void report_not_tls(Log& log, std::string_view why);

}  // namespace sidekick::host
