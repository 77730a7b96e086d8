// Requests from the app server: docs/protocol.md, "App server to Sidekick: HTTP". Order of checks:
// path, method, bearer, size, body, state.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

enum class Route : u8 { connection, resources, message, health, socket, unknown };

struct RouteEntry {
  Bytes path;
  Route route;
  Bytes allow;  // as listed in an Allow header
};

constexpr RouteEntry routes[] = {
    {"/connection", Route::connection, "POST"}, {"/resources", Route::resources, "POST"},
    {"/message", Route::message, "POST"},       {"/health", Route::health, "GET, HEAD"},
    {"/socket", Route::socket, "GET"},
};

constexpr RouteEntry unknown_route = {"", Route::unknown, ""};

const RouteEntry& find_route(Bytes path) {
  if (path.starts_with("http://") || path.starts_with("https://")) {
    // The absolute form, which servers must accept: RFC 9112, section 3.2.2.
    path.remove_prefix(path.find("://") + 3);
    path.remove_prefix(std::min(path.find('/'), path.size()));
  }
  path = path.substr(0, path.find_first_of("?#"));
  for (const RouteEntry& entry : routes) {
    if (entry.path == path) return entry;
  }
  return unknown_route;
}

bool is_allowed(const RouteEntry& entry, Bytes method) {
  return entry.allow == method ||
         (entry.route == Route::health && (method == "GET" || method == "HEAD"));
}

bool takes_body(Route route) {
  return route == Route::connection || route == Route::resources || route == Route::message;
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

constexpr char text_plain[] = "text/plain; charset=utf-8";

}  // namespace

u32 Hub::body_bytes_max(Bytes method, Bytes path, Bytes authorization) const {
  const RouteEntry& entry = find_route(path);
  const bool is_read =
      takes_body(entry.route) && is_allowed(entry, method) && state_->is_authorized(authorization);
  return is_read ? state_->config.http_body_bytes_max : 0;
}

bool Hub::is_authorized(Bytes authorization) const { return state_->is_authorized(authorization); }

bool Hub::State::is_authorized(Bytes authorization) const {
  constexpr Bytes scheme = "bearer ";
  if (authorization.size() < scheme.size()) return false;
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char lower =
        scheme[i] == ' ' ? authorization[i] : static_cast<char>(authorization[i] | 0x20);
    if (lower != scheme[i]) return false;  // schemes are case-insensitive: RFC 9110, section 11.1
  }
  const Bytes given = authorization.substr(scheme.size());
  bool is_known = false;
  for (const std::string& secret : config.secrets)
    is_known |= is_equal_in_constant_time(given, secret);
  return is_known;
}

void Hub::State::on_http_request(const input::HttpRequest& in, Actions& out) {
  const RouteEntry& entry = find_route(in.path);
  if (entry.route == Route::unknown) {
    return emit_respond(in.request, 404,
                        "Not Found: expected POST /connection, /resources or /message, GET "
                        "/health, or WebSocket /socket",
                        out);
  }
  if (!is_allowed(entry, in.method)) {
    const Bytes body = out.text().append("Method Not Allowed: use ").append(entry.allow).finish();
    out.add(action::Respond{in.request, 405, 0, text_plain,
                            out.text().append("Allow: ").append(entry.allow).finish(), body});
    return;
  }
  if (entry.route == Route::health) return on_health(in, out);
  if (entry.route == Route::socket) {
    out.add(action::Respond{in.request, 426, 0, text_plain, "Upgrade: websocket",
                            "Upgrade Required: /socket accepts WebSocket connections only"});
    return;
  }
  if (!is_authorized(in.authorization)) return emit_unauthorized(in.request, out);
  const u64 body_bytes = in.body.size() > in.body_bytes ? in.body.size() : in.body_bytes;
  if (body_bytes > config.http_body_bytes_max) {
    const Bytes body = out.text()
                           .append("Content Too Large: the limit is ")
                           .append_number(config.http_body_bytes_max)
                           .append(" bytes (http_body_bytes_max)")
                           .finish();
    return emit_respond(in.request, 413, body, out);
  }
  switch (entry.route) {
    case Route::connection:
      return on_connection(in, out);
    case Route::resources:
      return on_resources(in, out);
    case Route::message:
      return on_channel_message(in, out);
    case Route::health:
    case Route::socket:
    case Route::unknown:
      trap();  // answered above
  }
}

/// Responds with 400 where the body is wrong; returns whether it has.
bool Hub::State::reject_if_wrong(const std::string& wrong, RequestId request, Actions& out) {
  if (wrong.empty()) return false;
  emit_respond(request, 400, out.text().append("Bad Request: ").append(wrong).finish(), out);
  return true;
}

void Hub::State::on_connection(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_connection(in.body), in.request, out)) return;
  const Message& message = decoder.message();
  const Bytes context = message.context.value_or(Bytes());
  name_channel_topic(topic_name, message.scope);

  const TokenId existing = tokens.find(message.token);
  if (existing != none && tokens[existing].state() != TokenState::free) {
    return emit_respond(in.request, 409,
                        "Conflict: a client holds this token; register a new token", out);
  }
  if (existing == none && tokens.count() >= config.tokens_max) {
    return emit_respond(in.request, 503,
                        "Service Unavailable: token limit reached (tokens_max); try again later",
                        out);
  }
  Token draft = Tokens::draft(message.token, message.scope, topic_name, context);
  const u64 freed = existing == none ? 0 : Tokens::cost_of(tokens[existing]);
  if (tokens.store_bytes() - freed + Tokens::cost_of(draft) > config.token_store_bytes_max) {
    return emit_respond(
        in.request, 503,
        "Service Unavailable: token store is full (token_store_bytes_max); try again later", out);
  }

  // Messages of the replaced token stay ahead of those of the new one.
  const u32 lane = existing == none ? none : tokens[existing].lane;
  if (existing != none) forget_token(existing);
  const TokenId id = tokens.add(std::move(draft), now + config.token_ttl_ms);
  tokens[id].lane = lane;
  if (lane != none) forwards.lane(lane).token = id;
  emit_put_token(id, out);
  emit_respond(in.request, 200, "OK", out);
}

void Hub::State::on_resources(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_resources(in.body), in.request, out)) return;
  topics.begin_marks();
  for (const Bytes resource : decoder.message().resources) {
    name_resource_topic(topic_name, resource);
    const TopicId topic = topics.find(topic_name);
    if (topic == none || !topics.mark(topic)) continue;
    TextArena& text = out.text();
    text.append("{ \"type\": \"updated\", \"resource\": ");
    ion::append_string(text, resource);
    emit_publish(topic, text.append(" }").finish(), out);
  }
  emit_respond(in.request, 200, "OK", out);
}

void Hub::State::on_channel_message(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_channel_message(in.body), in.request, out)) return;
  const Message& message = decoder.message();
  name_channel_topic(topic_name, message.scope);
  const TopicId topic = topics.find(topic_name);
  if (topic != none) {
    TextArena& text = out.text();
    text.append("{ \"type\": \"message\", \"channel\": ");
    ion::append_string(text, *message.scope.channel);
    text.append(", \"params\": ");
    append_params(text, message.scope);
    if (message.data) text.append(", \"data\": ").append(*message.data);
    emit_publish(topic, text.append(" }").finish(), out);
  }
  emit_respond(in.request, 200, "OK", out);
}

/// Open to everyone. Counts are shown only with a secret, and a wrong secret is rejected as
/// everywhere.
void Hub::State::on_health(const input::HttpRequest& in, Actions& out) {
  const bool is_known = is_authorized(in.authorization);
  if (!is_known && !in.authorization.empty()) return emit_unauthorized(in.request, out);
  TextArena& text = out.text();
  text.append("{\"status\":\"ok\"");
  if (is_known) {
    text.append(",\"version\":\"")
        .append(core_version)
        .append("\",\"clients\":")
        .append_number(clients.count());
    text.append(",\"tokens\":")
        .append_number(tokens.count())
        .append(",\"topics\":")
        .append_number(topics.count());
    text.append(",\"forwards\":").append_number(forwards.in_flight_count());
  }
  out.add(action::Respond{in.request, 200, 0, "application/json", "", text.append("}").finish()});
}

}  // namespace sidekick
