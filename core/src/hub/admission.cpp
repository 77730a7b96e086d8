// Order of checks: path, method, then for sockets: upgrade, body, version, key, protocols, origin,
// state; for the app server: bearer. The body and its size come later (hub_http.cpp).
#include "hub/admission.hpp"

#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr RouteEntry routes[] = {
    {"/connection", Route::connection, "POST"}, {"/resources", Route::resources, "POST"},
    {"/message", Route::message, "POST"},       {"/health", Route::health, "GET, HEAD"},
    {"/ready", Route::ready, "GET, HEAD"},      {"/metrics", Route::metrics, "GET, HEAD"},
    {"/socket", Route::socket, "GET"},
};

constexpr RouteEntry unknown_route = {"", Route::unknown, ""};

bool is_allowed(const RouteEntry& entry, Bytes method) {
  return entry.allow == method || (is_read(entry.route) && (method == "GET" || method == "HEAD"));
}

bool takes_body(Route route) {
  return route == Route::connection || route == Route::resources || route == Route::message;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool is_equal_ignoring_case(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return x == y || lower(x) == lower(y); });
}

bool is_equal_in_constant_time(Bytes given, Bytes secret) {
  // Touches every byte of `given` whatever the secret: the time reveals only the length of the
  // guess.
  u32 difference = static_cast<u32>(given.size() ^ secret.size());
  for (std::size_t i = 0, at = 0; i < given.size(); ++i) {
    difference |= static_cast<u8>(given[i]) ^ static_cast<u8>(secret[at]);
    at = at + 1 < secret.size() ? at + 1 : 0;
  }
  return difference == 0;
}

Bytes trimmed(Bytes text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == Bytes::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Takes the part up to the separator off `rest`; the rest is empty at the end.
Bytes take_until(Bytes& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const Bytes part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

/// Empty elements do not count: RFC 9110, section 5.6.1.
template <class Call>
void for_each_element(Bytes list, Call call) {
  while (!list.empty()) {
    const Bytes element = trimmed(take_until(list, ','));
    if (!element.empty()) call(element);
  }
}

bool has_element(Bytes list, Bytes wanted) {
  bool has = false;
  for_each_element(list, [&](Bytes element) { has |= is_equal_ignoring_case(element, wanted); });
  return has;
}

/// RFC 9110, section 5.6.2.
bool is_token(Bytes text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const bool is_alphanumeric = (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9');
    return is_alphanumeric || Bytes("!#$%&'*+-.^_`|~").find(c) != Bytes::npos;
  });
}

/// 16 bytes in Base64.
bool is_websocket_key(Bytes key) {
  constexpr std::size_t key_size = 24;
  return key.size() == key_size && key.ends_with("==") &&
         std::all_of(key.begin(), key.end() - 2, [](char c) {
           const bool is_letter = lower(c) >= 'a' && lower(c) <= 'z';
           return is_letter || (c >= '0' && c <= '9') || c == '+' || c == '/';
         });
}

/// Empty secrets do not count.
bool has_secret(Bytes authorization, std::span<const std::string> secrets) {
  constexpr Bytes scheme = "bearer ";  // case-insensitive: RFC 9110, section 11.1
  if (!is_equal_ignoring_case(authorization.substr(0, scheme.size()), scheme)) return false;
  const Bytes given = authorization.substr(scheme.size());
  bool is_known = false;
  for (const std::string& secret : secrets)
    is_known |= !secret.empty() && is_equal_in_constant_time(given, secret);
  return is_known;
}

}  // namespace

bool is_probe(Route route) { return route == Route::health || route == Route::ready; }
bool is_read(Route route) { return is_probe(route) || route == Route::metrics; }

const RouteEntry& find_route(Bytes target) {
  const std::size_t end = target.starts_with('/') ? Bytes::npos : target.find("://");
  if (end != Bytes::npos) {
    // The absolute form, which servers must accept: RFC 9112, section 3.2.2.
    const Bytes scheme = target.substr(0, end);
    const bool is_ours =
        is_equal_ignoring_case(scheme, "http") || is_equal_ignoring_case(scheme, "https") ||
        is_equal_ignoring_case(scheme, "ws") || is_equal_ignoring_case(scheme, "wss");
    if (!is_ours) return unknown_route;
    target.remove_prefix(end + 3);
    target.remove_prefix(std::min(target.find_first_of("/?#"), target.size()));
  }
  const Bytes path = target.substr(0, target.find_first_of("?#"));
  for (const RouteEntry& entry : routes) {
    if (entry.path == path) return entry;
  }
  return unknown_route;
}

Handshake::Handshake(Bytes headers) {
  bool is_connection_upgrade = false;
  u32 keys = 0;
  u32 versions = 0;
  u32 origins = 0;
  while (!headers.empty()) {
    Bytes value = take_until(headers, '\n');
    const Bytes name = take_until(value, ':');
    value = trimmed(value);
    const auto is = [&](Bytes wanted) { return is_equal_ignoring_case(name, wanted); };
    if (is("upgrade")) {
      is_upgrade |= has_element(value, "websocket");
    } else if (is("connection")) {
      is_connection_upgrade |= has_element(value, "upgrade");
    } else if (is("sec-websocket-key")) {
      has_key = ++keys == 1 && is_websocket_key(value);
    } else if (is("sec-websocket-version")) {
      has_version = ++versions == 1 && value == "13";
    } else if (is("sec-websocket-protocol")) {
      for_each_element(value, [&](Bytes element) {
        has_protocols &= is_token(element);
        if (protocol.empty()) protocol = element;
      });
    } else if (is("origin")) {
      origin = ++origins == 1 ? value : Bytes();
    } else if (is("transfer-encoding")) {
      has_body = true;
    }
  }
  is_upgrade &= is_connection_upgrade;
}

Verdict Hub::admit(const input::HttpRequest& request) const { return state_->admit(request); }

bool Hub::is_authorized(Bytes authorization) const { return state_->is_authorized(authorization); }

Verdict Hub::State::admit(const input::HttpRequest& in) const {
  const RouteEntry& entry = find_route(in.path);
  if (entry.route == Route::metrics && is_allowed(entry, in.method) &&
      (is_authorized(in.authorization) ||
       has_secret(in.authorization, {&config.metrics_secret, 1})))
    return {VerdictKind::metrics, 0, {}};
  const Refusal refusal = refusal_of(in, entry);
  if (refusal.status != 0)
    return {refusal.is_passing ? VerdictKind::ask : VerdictKind::answer, 0, {}};
  const Route route = entry.route;
  if (route == Route::socket) return {VerdictKind::socket, 0, Handshake(in.headers).protocol};
  if (takes_body(route)) return {VerdictKind::body, config.http_body_bytes_max, {}};
  const bool is_constant = route == Route::health && in.authorization.empty();
  return {is_constant ? VerdictKind::answer : VerdictKind::ask, 0, {}};
}

Refusal Hub::State::refusal_of(const input::HttpRequest& in, const RouteEntry& entry) const {
  if (entry.route == Route::unknown) {
    return {404, ErrorCode::path,
            "Not Found: expected POST /connection, /resources or /message, GET /health or "
            "/ready, or WebSocket /socket",
            "", false};
  }
  if (!is_allowed(entry, in.method)) {
    return is_read(entry.route)
               ? Refusal{405, ErrorCode::method, "Method Not Allowed: use GET, HEAD",
                         "Allow: GET, HEAD", false}
           : entry.route == Route::socket
               ? Refusal{405, ErrorCode::method, "Method Not Allowed: use GET", "Allow: GET", false}
               : Refusal{405, ErrorCode::method, "Method Not Allowed: use POST", "Allow: POST",
                         false};
  }
  if (entry.route == Route::socket) return socket_refusal_of(in);
  // Open to everyone without a secret; a wrong one is rejected as everywhere.
  const bool is_open = is_probe(entry.route) && in.authorization.empty();
  if (is_open || is_authorized(in.authorization)) return {};
  return {401, ErrorCode::unauthorized,
          "Unauthorized: expected \"Authorization: Bearer <secret>\" with this Sidekick's secret",
          "WWW-Authenticate: Bearer", false};
}

Refusal Hub::State::socket_refusal_of(const input::HttpRequest& in) const {
  const Handshake handshake(in.headers);
  const auto refuse = [](u32 status, ErrorCode code, Bytes text, Bytes header = "",
                         bool is_passing = false) {
    return Refusal{status, code, text, header, is_passing};
  };
  if (!handshake.is_upgrade) {
    return refuse(426, ErrorCode::upgrade,
                  "Upgrade Required: /socket accepts WebSocket connections only",
                  "Upgrade: websocket");
  }
  if (handshake.has_body || in.body_bytes > 0) {
    return refuse(400, ErrorCode::upgrade, "Bad Request: expected an upgrade without a body");
  }
  if (!handshake.has_version) {
    return refuse(426, ErrorCode::upgrade, "Upgrade Required: expected Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Version: 13");
  }
  if (!handshake.has_key) {
    return refuse(400, ErrorCode::upgrade,
                  "Bad Request: expected one Sec-WebSocket-Key: 16 bytes in Base64");
  }
  if (!handshake.has_protocols) {
    return refuse(400, ErrorCode::upgrade,
                  "Bad Request: expected tokens, separated by commas, in Sec-WebSocket-Protocol");
  }
  if (!is_origin_allowed(handshake.origin)) {
    return refuse(403, ErrorCode::origin,
                  "Forbidden: pages of this origin may not open a socket (allowed_origins)");
  }
  if (is_stopping()) {
    return refuse(503, ErrorCode::stopping,
                  "Service Unavailable: this Sidekick is shutting down; try again", "", true);
  }
  if (clients.count() >= config.clients_max) {
    return refuse(503, ErrorCode::full,
                  "Service Unavailable: connection limit reached (clients_max); try again later",
                  "", true);
  }
  return {};
}

/// An entry may begin its host with `*.`, for any subdomain.
bool Hub::State::is_origin_allowed(Bytes origin) const {
  if (config.allowed_origins.empty()) return true;
  return std::any_of(config.allowed_origins.begin(), config.allowed_origins.end(),
                     [&](Bytes allowed) {
                       const std::size_t star = allowed.find("://*.");
                       if (star == Bytes::npos) return is_equal_ignoring_case(origin, allowed);
                       const Bytes scheme = allowed.substr(0, star + 3);
                       const Bytes domain = allowed.substr(star + 4);  // with its dot
                       if (origin.size() <= scheme.size() + domain.size()) return false;
                       const std::size_t domain_at = origin.size() - domain.size();
                       const Bytes below = origin.substr(scheme.size(), domain_at - scheme.size());
                       return is_equal_ignoring_case(origin.substr(0, scheme.size()), scheme) &&
                              is_equal_ignoring_case(origin.substr(domain_at), domain) &&
                              below.find_first_of("/?#@:\\") == Bytes::npos;
                     });
}

bool Hub::State::is_authorized(Bytes authorization) const {
  return has_secret(authorization, config.secrets);
}

}  // namespace sidekick
