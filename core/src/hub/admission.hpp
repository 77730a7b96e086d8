// Checks whether a request is allowed, by its method, path, bearer and header lines, before any
// body is read.
#pragma once

#include "sidekick/hub.hpp"

namespace sidekick {

/// In the order of requests_total in metrics.def.
enum class Route : u8 { connection, resources, message, health, ready, metrics, socket, unknown };

struct RouteEntry {
  Bytes path;
  Route route;
  Bytes allow;  // as listed in an Allow header
};

/// Finds the route of a request target, in origin form or absolute form (RFC 9112, section 3.2).
const RouteEntry& find_route(Bytes target);

/// Open to everyone without a secret.
bool is_probe(Route route);
/// Asked for by GET or HEAD; a body is not read.
bool is_read(Route route);

/// Why a request is not taken; status 0: it is.
struct Refusal {
  u32 status = 0;
  ErrorCode code = ErrorCode::ok;
  Bytes text;
  Bytes header;
  /// Whether it depends on the hub's state.
  bool is_passing = false;
};

/// The header lines of a request for a WebSocket (RFC 6455, section 4.2.1).
struct Handshake {
  explicit Handshake(Bytes headers);

  bool is_upgrade = false;  ///< to WebSocket; any other is ignored: RFC 9110, section 7.8
  bool has_key = false;     ///< exactly one, and valid
  bool has_version = false;
  bool has_protocols = true;  ///< all of them are tokens
  bool has_body = false;
  Bytes protocol;  ///< the first one offered, or empty
  Bytes origin;    ///< empty: none, or several
};

}  // namespace sidekick
