// Requests from the app server: docs/protocol.md, "App server to Sidekick: HTTP". Order of checks:
// admission (admission.cpp), size, body, state.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

void Hub::State::on_http_request(const input::HttpRequest& in, Actions& out) {
  const RouteEntry& entry = find_route(in.path);
  ++metrics.at(Metric::requests_connection, static_cast<u32>(entry.route));
  const Refusal refusal = refusal_of(in, entry);
  if (refusal.code == ErrorCode::unauthorized) return emit_unauthorized(in.request, refusal, out);
  if (refusal.status != 0) {
    return emit_respond(in.request, refusal.status, refusal.code, refusal.text, out,
                        refusal.header);
  }
  const Route route = entry.route;
  const u64 body_bytes = std::max<u64>(in.body.size(), in.body_bytes);
  if (!is_read(route) && body_bytes > config.http_body_bytes_max) {
    const Bytes body =
        out.text()
            .write({"Content Too Large: the limit is ", Digits(config.http_body_bytes_max),
                    " bytes (http_body_bytes_max)"})
            .finish();
    return emit_respond(in.request, 413, ErrorCode::size, body, out);
  }
  if (route == Route::health) return on_health(in, out);
  if (route == Route::ready) return on_ready(in, out);
  if (route == Route::metrics) return on_metrics(in, out);
  if (route == Route::socket) {
    // The host could not accept the upgrade.
    return emit_respond(in.request, 426, ErrorCode::upgrade,
                        "Upgrade Required: /socket accepts WebSocket connections only", out,
                        "Upgrade: websocket");
  }
  if (engine.is_on()) current = {none, in.request, route, now, in.body};
  run_request(route, in.request, in.body, out);
}

/// Of a request that was admitted: also when it has waited for the engine.
void Hub::State::run_request(Route route, RequestId request, Bytes body, Actions& out) {
  switch (route) {
    case Route::connection:
      return on_connection(request, body, out);
    case Route::resources:
      return on_resources(request, body, out);
    case Route::message:
      return on_channel_message(request, body, out);
    case Route::health:
    case Route::ready:
    case Route::metrics:
    case Route::socket:
    case Route::unknown:
      trap();  // answered before
  }
}

/// Responds with 400 where the body is wrong; returns whether it has.
bool Hub::State::reject_if_wrong(const std::string& wrong, RequestId request, Actions& out) {
  if (wrong.empty()) return false;
  emit_respond(request, 400, decoder.code(), out.text().write({"Bad Request: ", wrong}).finish(),
               out);
  return true;
}

void Hub::State::on_connection(RequestId request, Bytes body, Actions& out) {
  if (reject_if_wrong(decoder.decode_connection(body), request, out)) return;
  const Message& message = decoder.message();
  const Bytes context = message.context.value_or(Bytes());
  name_channel_topic(topic_name, message.scope);

  if (engine.is_on())
    return register_token(Tokens::draft(message.token, message.scope, topic_name, context), out);
  const TokenId existing = tokens.find(message.token);
  if (existing != none && tokens[existing].state() != TokenState::free) {
    return emit_respond(request, 409, ErrorCode::token_held,
                        "Conflict: a client holds this token; register a new token", out);
  }
  if (existing == none && tokens.count() >= config.tokens_max) {
    return emit_respond(request, 503, ErrorCode::full,
                        "Service Unavailable: token limit reached (tokens_max); try again later",
                        out);
  }
  Token draft = Tokens::draft(message.token, message.scope, topic_name, context);
  const u64 freed = existing == none ? 0 : Tokens::cost_of(tokens[existing]);
  if (tokens.store_bytes() - freed + Tokens::cost_of(draft) > config.token_store_bytes_max) {
    return emit_respond(
        request, 503, ErrorCode::full,
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
  ++metrics[Metric::tokens_registered];
  if (lane != none) forwards.lane(lane).token = id;
  emit_put_token(id, out);
  emit_respond(request, 200, ErrorCode::ok, "OK", out);
}

void Hub::State::on_resources(RequestId request, Bytes body, Actions& out) {
  if (reject_if_wrong(decoder.decode_resources(body), request, out)) return;
  if (engine.is_on()) return publish_changes(out);
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
  emit_respond(request, 200, ErrorCode::ok, "OK", out);
}

void Hub::State::on_channel_message(RequestId request, Bytes body, Actions& out) {
  if (reject_if_wrong(decoder.decode_channel_message(body), request, out)) return;
  const Message& message = decoder.message();
  name_channel_topic(topic_name, message.scope);
  if (engine.is_on()) return publish_message(message, out);
  const u64 hash = topics.hash(topic_name);
  const TopicId topic = topics.find(hash, topic_name);
  if (!history.empty()) history.expire(stamps.position_before(config.history_ms));
  const u32 recorded = history.find(hash, topic_name);
  const bool is_plain = topic != none && !topics.subscribers(topic).empty();
  if (is_plain || recorded != none) {
    TextArena& text = out.text();
    append_channel_message(text, message);
    if (is_plain) {
      const Bytes plain = text.append(" }").finish();
      emit_publish(topics.subscribers(topic), plain, out);
      if (recorded != none) text.append(plain.substr(0, plain.size() - 2));
    }
    if (recorded != none) publish_stamped(topic, recorded, out);
  }
  if (recorded == none) stamps.take();  // so that a later record begins above what was told
  emit_respond(request, 200, ErrorCode::ok, "OK", out);
}

/// Counts are shown only with a secret.
void Hub::State::on_health(const input::HttpRequest& in, Actions& out) {
  TextArena& text = out.text();
  text.write({"{\"status\":\"ok\""});
  if (engine.is_on()) {
    bool is_up = true;
    for (const Shard& shard : engine.shards()) is_up = is_up && shard.is_ready();
    text.write({",\"engine\":\"", is_up ? "up" : "down", "\""});
  }
  if (!in.authorization.empty()) {
    text.write({",\"version\":\"", core_version, "\",\"clients\":", Digits(clients.count()),
                ",\"tokens\":", Digits(tokens.count()), ",\"topics\":", Digits(topics.count()),
                ",\"forwards\":", Digits(forwards.in_flight_count())});
  }
  emit(action::Respond{in.request, 200, 0, "application/json", "", text.write({"}"}).finish(),
                       ErrorCode::ok},
       out);
}

/// Of a host that does not know the verdict.
void Hub::State::on_metrics(const input::HttpRequest& in, Actions& out) {
  std::string text;
  append_metrics(text);
  emit(action::Respond{in.request, 200, 0, metrics_content_type, "", out.text().copy(text),
                       ErrorCode::ok},
       out);
}

/// Tells a load balancer whether to send clients and requests here, and an operator every reason
/// why not.
void Hub::State::on_ready(const input::HttpRequest& in, Actions& out) {
  if (is_ready()) {
    emit(action::Respond{in.request, 200, 0, "application/json", "", R"({"status":"ok"})",
                         ErrorCode::ok},
         out);
    return;
  }
  const bool has_both = is_stopping() && is_engine_away();
  const Bytes body =
      out.text()
          .write({R"({"status":"unavailable","reason":")", is_stopping() ? "shutting down" : "",
                  has_both ? ", " : "", is_engine_away() ? "engine unreachable" : "", "\"}"})
          .finish();
  emit(action::Respond{in.request, 503, 0, "application/json", "", body,
                       is_stopping() ? ErrorCode::stopping : ErrorCode::engine},
       out);
}

/// A short failure of the engine passes unseen: frames and requests wait as long.
bool Hub::State::is_engine_away() const {
  return std::any_of(engine.shards().begin(), engine.shards().end(), [this](const Shard& shard) {
    return !shard.is_ready() && shard.down_at + config.engine_wait_ms <= now;
  });
}

}  // namespace sidekick
