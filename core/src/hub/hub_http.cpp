// Requests from the app server: docs/protocol.md, "App server to Sidekick: HTTP". Order of checks:
// admission (admission.cpp), size, body, state.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

void Hub::State::on_http_request(const input::HttpRequest& in, Actions& out) {
  const RouteEntry& entry = find_route(in.path);
  const Refusal refusal = refusal_of(in, entry);
  if (refusal.code == ErrorCode::unauthorized) return emit_unauthorized(in.request, refusal, out);
  if (refusal.status != 0) {
    return emit_respond(in.request, refusal.status, refusal.code, refusal.text, out,
                        refusal.header);
  }
  const Route route = entry.route;
  const u64 body_bytes = std::max<u64>(in.body.size(), in.body_bytes);
  if (!is_probe(route) && body_bytes > config.http_body_bytes_max) {
    const Bytes body =
        out.text()
            .write({"Content Too Large: the limit is ", Digits(config.http_body_bytes_max),
                    " bytes (http_body_bytes_max)"})
            .finish();
    return emit_respond(in.request, 413, ErrorCode::size, body, out);
  }
  switch (route) {
    case Route::connection:
      return on_connection(in, out);
    case Route::resources:
      return on_resources(in, out);
    case Route::message:
      return on_channel_message(in, out);
    case Route::health:
      return on_health(in, out);
    case Route::ready:
      return on_ready(in, out);
    case Route::socket:
      // The host could not accept the upgrade.
      return emit_respond(in.request, 426, ErrorCode::upgrade,
                          "Upgrade Required: /socket accepts WebSocket connections only", out,
                          "Upgrade: websocket");
    case Route::unknown:
      trap();  // refused above
  }
}

/// Responds with 400 where the body is wrong; returns whether it has.
bool Hub::State::reject_if_wrong(const std::string& wrong, RequestId request, Actions& out) {
  if (wrong.empty()) return false;
  emit_respond(request, 400, decoder.code(), out.text().write({"Bad Request: ", wrong}).finish(),
               out);
  return true;
}

void Hub::State::on_connection(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_connection(in.body), in.request, out)) return;
  const Message& message = decoder.message();
  const Bytes context = message.context.value_or(Bytes());
  name_channel_topic(topic_name, message.scope);

  const TokenId existing = tokens.find(message.token);
  if (existing != none && tokens[existing].state() != TokenState::free) {
    return emit_respond(in.request, 409, ErrorCode::token_held,
                        "Conflict: a client holds this token; register a new token", out);
  }
  if (existing == none && tokens.count() >= config.tokens_max) {
    return emit_respond(in.request, 503, ErrorCode::full,
                        "Service Unavailable: token limit reached (tokens_max); try again later",
                        out);
  }
  Token draft = Tokens::draft(message.token, message.scope, topic_name, context);
  const u64 freed = existing == none ? 0 : Tokens::cost_of(tokens[existing]);
  if (tokens.store_bytes() - freed + Tokens::cost_of(draft) > config.token_store_bytes_max) {
    return emit_respond(
        in.request, 503, ErrorCode::full,
        "Service Unavailable: token store is full (token_store_bytes_max); try again later", out);
  }

  const bool is_new =
      existing == none || (tokens[existing].is_known_here && tokens[existing].session_hash() == 0);
  // Messages of the replaced token stay ahead of those of the new one.
  const u32 lane = existing == none ? none : tokens[existing].lane;
  if (existing != none) forget_token(existing);
  const TokenId id = tokens.add(std::move(draft), now + config.token_ttl_ms);
  tokens[id].is_known_here = is_new;
  tokens[id].registered_at = stamps.position();
  tokens[id].lane = lane;
  if (lane != none) forwards.lane(lane).token = id;
  emit_put_token(id, out);
  emit_respond(in.request, 200, ErrorCode::ok, "OK", out);
}

void Hub::State::on_resources(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_resources(in.body), in.request, out)) return;
  const bool is_logged = settle_change_log();
  const u64 at = stamps.take();  // logged or not: a later log begins above what was told
  topics.begin_marks();
  for (const Bytes resource : decoder.message().resources) {
    name_resource_topic(topic_name, resource);
    const u64 hash = topics.hash(topic_name);
    if (is_logged) changes.add(hash, resource, at, config.change_log_bytes_max);
    const TopicId topic = topics.find(hash, topic_name);
    if (topic == none || !topics.mark(topic)) continue;
    emit_publish(topics.subscribers(topic), encode_updated(out.text(), resource), out);
  }
  emit_respond(in.request, 200, ErrorCode::ok, "OK", out);
}

void Hub::State::on_channel_message(const input::HttpRequest& in, Actions& out) {
  if (reject_if_wrong(decoder.decode_channel_message(in.body), in.request, out)) return;
  const Message& message = decoder.message();
  name_channel_topic(topic_name, message.scope);
  const u64 hash = topics.hash(topic_name);
  const TopicId topic = topics.find(hash, topic_name);
  if (!history.empty()) history.expire(stamps.position_before(config.history_ms));
  const u32 recorded = history.find(hash, topic_name);
  const bool is_plain = topic != none && !topics.subscribers(topic).empty();
  if (is_plain || recorded != none) {
    TextArena& text = out.text();
    text.append("{ \"type\": \"message\", \"channel\": ");
    ion::append_string(text, *message.scope.channel);
    text.append(", \"params\": ");
    append_params(text, message.scope);
    if (message.data) text.append(", \"data\": ").append(*message.data);
    if (is_plain) {
      const Bytes plain = text.append(" }").finish();
      emit_publish(topics.subscribers(topic), plain, out);
      if (recorded != none) text.append(plain.substr(0, plain.size() - 2));
    }
    if (recorded != none) publish_stamped(topic, recorded, out);
  }
  if (recorded == none) stamps.take();  // so that a later record begins above what was told
  emit_respond(in.request, 200, ErrorCode::ok, "OK", out);
}

/// Counts are shown only with a secret.
void Hub::State::on_health(const input::HttpRequest& in, Actions& out) {
  TextArena& text = out.text();
  text.write({"{\"status\":\"ok\""});
  if (!in.authorization.empty()) {
    text.write({",\"version\":\"", core_version, "\",\"clients\":", Digits(clients.count()),
                ",\"tokens\":", Digits(tokens.count()), ",\"topics\":", Digits(topics.count()),
                ",\"forwards\":", Digits(forwards.in_flight_count())});
  }
  out.add(action::Respond{in.request, 200, 0, "application/json", "", text.write({"}"}).finish(),
                          ErrorCode::ok});
}

/// Tells a load balancer whether to send clients and requests here.
void Hub::State::on_ready(const input::HttpRequest& in, Actions& out) {
  const Bytes reason = unready_reason();
  if (reason.empty()) {
    out.add(action::Respond{in.request, 200, 0, "application/json", "", R"({"status":"ok"})",
                            ErrorCode::ok});
    return;
  }
  const Bytes body =
      out.text().write({R"({"status":"unavailable","reason":")", reason, "\"}"}).finish();
  out.add(action::Respond{in.request, 503, 0, "application/json", "", body, ErrorCode::stopping});
}

/// Empty: this Sidekick is ready.
Bytes Hub::State::unready_reason() const { return is_shutting_down ? "shutting down" : ""; }

}  // namespace sidekick
