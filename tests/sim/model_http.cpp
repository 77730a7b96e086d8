// Requests: docs/protocol.md, "App server to Sidekick: HTTP", and those for a socket.
#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

/// In the order of the protocol: path, method, bearer; for a socket: see socket_admission.
Admission Model::admission(const Op& op) const {
  if (op.kind == OpKind::open) return socket_admission(op);
  const auto refuse = [](u32 status, ErrorCode code, const char* body, const char* header = "") {
    return Admission{VerdictKind::answer, 0, "", status, code, body, header};
  };
  switch (op.gate) {
    case Gate::wrong_path:
      return refuse(404, ErrorCode::path,
                    "Not Found: expected POST /connection, /resources or /message, GET /health or "
                    "/ready, or WebSocket /socket");
    case Gate::socket:
      return refuse(426, ErrorCode::upgrade,
                    "Upgrade Required: /socket accepts WebSocket connections only",
                    "Upgrade: websocket");
    case Gate::wrong_method:
      if (is_probe(op.verb))
        return refuse(405, ErrorCode::method, "Method Not Allowed: use GET, HEAD",
                      "Allow: GET, HEAD");
      return refuse(405, ErrorCode::method, "Method Not Allowed: use POST", "Allow: POST");
    case Gate::no_secret:
      if (op.verb == Verb::health) return {};
      if (op.verb == Verb::ready) return {VerdictKind::ask};
      [[fallthrough]];
    case Gate::wrong_secret:
      return refuse(
          401, ErrorCode::unauthorized,
          "Unauthorized: expected \"Authorization: Bearer <secret>\" with this Sidekick's secret",
          "WWW-Authenticate: Bearer");
    case Gate::too_large:
    case Gate::open:
    case Gate::other_secret:
      break;
    case Gate::count:
      trap();
  }
  if (is_probe(op.verb)) return {VerdictKind::ask};
  return {VerdictKind::body, config_->http_body_bytes_max};
}

Admission Model::socket_admission(const Op& op) const {
  const auto refuse = [](u32 status, ErrorCode code, const char* body, const char* header = "",
                         VerdictKind kind = VerdictKind::answer) {
    return Admission{kind, 0, "", status, code, body, header};
  };
  static constexpr char not_upgraded[] =
      "Upgrade Required: /socket accepts WebSocket connections only";
  const auto has = [&op](KnockFlaw flaw) { return (op.knock_flaws & flaw) != 0; };
  if (has(wrong_socket_method))
    return refuse(405, ErrorCode::method, "Method Not Allowed: use GET", "Allow: GET");
  if (has(wrong_upgrade))
    return refuse(426, ErrorCode::upgrade, not_upgraded, "Upgrade: websocket");
  if (has(upgrade_with_body))
    return refuse(400, ErrorCode::upgrade, "Bad Request: expected an upgrade without a body");
  if (has(wrong_version))
    return refuse(426, ErrorCode::upgrade, "Upgrade Required: expected Sec-WebSocket-Version: 13",
                  "Sec-WebSocket-Version: 13");
  if (has(wrong_key))
    return refuse(400, ErrorCode::upgrade,
                  "Bad Request: expected one Sec-WebSocket-Key: 16 bytes in Base64");
  if (has(wrong_protocols))
    return refuse(400, ErrorCode::upgrade,
                  "Bad Request: expected tokens, separated by commas, in Sec-WebSocket-Protocol");
  const u8 allowed = swarm_.allowed_origins[config_ - swarm_.configs];
  if (allowed != 0 && (origins[op.origin].allowed_by & allowed) == 0)
    return refuse(403, ErrorCode::origin,
                  "Forbidden: pages of this origin may not open a socket (allowed_origins)");
  if (is_stopping_ || drain_.is_on)
    return refuse(503, ErrorCode::stopping,
                  "Service Unavailable: this Sidekick is shutting down; try again", "",
                  VerdictKind::ask);
  if (client_count_ >= config_->clients_max)
    return refuse(503, ErrorCode::full,
                  "Service Unavailable: connection limit reached (clients_max); try again later",
                  "", VerdictKind::ask);
  // The answer if the host cannot accept it.
  return {VerdictKind::socket, 0, protocol_of(op), 426, ErrorCode::upgrade, not_upgraded,
          "Upgrade: websocket"};
}

/// After admission: size, body, state.
void Model::http(const Op& op, u32 bytes, u32 request) {
  const Admission admission = this->admission(op);
  if (admission.status != 0)
    return respond(request, admission.status, admission.code, admission.text, admission.header);
  if (op.verb == Verb::health) return health(request, op.gate != Gate::no_secret);
  if (op.verb == Verb::ready) return ready(request);
  if (op.gate == Gate::too_large || bytes > config_->http_body_bytes_max) {
    if (op.gate != Gate::too_large) verdict_ = Checker::limits;
    return respond(request, 413, ErrorCode::size,
                   compose({"Content Too Large: the limit is ",
                            Digits(config_->http_body_bytes_max), " bytes (http_body_bytes_max)"}));
  }
  const Complaint complaint = complaint_of(op, bytes);
  if (!complaint.text.empty()) {
    if (complaint.is_limit) verdict_ = Checker::limits;
    return respond(request, 400, complaint.code, compose({"Bad Request: ", complaint.text}));
  }
  if (op.verb == Verb::connection) return connection(op, request);
  if (op.verb == Verb::message) {
    publish(op);
    return respond(request, 200, ErrorCode::ok, "OK");
  }
  change(op);
  respond(request, 200, ErrorCode::ok, "OK");
}

/// Those that said hello get the stamp, too.
void Model::publish(const Op& op) {
  sent_to_[op.scope].push_back(++published_);
  expire_history();
  const auto say = [&](Audience audience, u64 at) {
    begin_text();
    text += "{ \"type\": \"message\", ";
    append_scope(op.scope, op.order);
    if (op.payload.shape != Shape::absent) append_payload(text.append(", \"data\": "), op.payload);
    if (at != 0) text.append(", \"at\": ").append(Digits(at));
    text += " }";
    if (subscriber_count(op.scope, audience) == 0) return;
    Effect& effect = add(EffectKind::publish, op.scope);
    effect.status = static_cast<u32>(audience);
    end_text(effect);
  };
  say(Audience::plain, 0);
  const u64 at = last_stamp_ = position() + 1;
  if (!recorded_[op.scope].is_there) return;
  say(Audience::hello, at);
  record_message(op.scope, at, Bytes(text).substr(begun_));
}

void Model::change(const Op& op) {
  ++published_;
  const bool is_logged = settle_log();
  const u64 at = last_stamp_ = position() + 1;
  changed_.clear();
  u32 position = op.first;
  for (u32 i = 0; i < op.count; ++i, position += op.stride) {
    const u32 resource = position % static_cast<u32>(words_.resources.size());
    last_change_[resource] = published_;
    if (is_logged) log_change(resource, at);
    if (is_marked_[resource] || subscriber_count(resource_topic(resource)) == 0) continue;
    is_marked_[resource] = 1;
    changed_.push_back(static_cast<u16>(resource));
    begin_text();
    text.append("{ \"type\": \"updated\", \"resource\": ")
        .append(words_.resources[resource].literal)
        .append(" }");
    end_text(add(EffectKind::publish, resource_topic(resource)));
  }
  for (const u32 resource : changed_) is_marked_[resource] = 0;
}

void Model::connection(const Op& op, u32 request) {
  TokenFacts& token = tokens_[op.token];
  if (token.hold == Hold::held || token.hold == Hold::subscribed) {
    verdict_ = Checker::one_holder;
    return respond(request, 409, ErrorCode::token_held,
                   "Conflict: a client holds this token; register a new token");
  }
  if (token.hold == Hold::none && token_count_ >= config_->tokens_max) {
    verdict_ = Checker::limits;
    return respond(request, 503, ErrorCode::full,
                   "Service Unavailable: token limit reached (tokens_max); try again later");
  }
  const TokenFacts before = token;
  token.hold = Hold::free;
  token.scope = op.scope;
  token.order = op.order;
  token.context = op.payload;
  token.session = no_one;
  token.sends = Sends{};
  token.is_known_here =
      before.hold == Hold::none || (before.is_known_here && before.session == no_one);
  token.registered_at = position();
  token.cost = cost_of(op.token);
  if (token_bytes_ - before.cost + token.cost > config_->token_store_bytes_max) {
    token = before;
    verdict_ = Checker::limits;
    return respond(
        request, 503, ErrorCode::full,
        "Service Unavailable: token store is full (token_store_bytes_max); try again later");
  }
  token_bytes_ = token_bytes_ - before.cost + token.cost;
  if (before.hold == Hold::none) ++token_count_;
  token.expires_at = now_ + config_->token_ttl_ms;
  wait_until(token.expires_at);
  Effect& effect = add(EffectKind::put, op.token);
  effect.is_durable = true;
  effect.expires_at = token.expires_at;
  begin_text();
  append_record(text, op.token);
  end_text(effect);
  respond(request, 200, ErrorCode::ok, "OK");
}

/// Open to everyone; counts are shown only with a secret.
void Model::health(u32 request, bool is_known) {
  begin_text();
  text += "{\"status\":\"ok\"";
  if (is_known) {
    text.append(",\"version\":\"")
        .append(core_version)
        .append("\",\"clients\":")
        .append(Digits(client_count_));
    text.append(",\"tokens\":")
        .append(Digits(token_count_))
        .append(",\"topics\":")
        .append(Digits(topic_count_));
    text.append(",\"forwards\":").append(Digits(flights_.size()));
    verdict_ = Checker::nothing_left;
  }
  text += "}";
  Effect& effect = add(EffectKind::respond, request);
  effect.status = 200;
  end_text(effect);
}

void Model::ready(u32 request) {
  if (!is_stopping_ && !drain_.is_on)
    return respond(request, 200, ErrorCode::ok, "{\"status\":\"ok\"}");
  respond(request, 503, ErrorCode::stopping,
          "{\"status\":\"unavailable\",\"reason\":\"shutting down\"}");
}

/// `body`: a pattern.
void Model::respond(u32 request, u32 status, ErrorCode code, Bytes body, const char* header) {
  begin_text();
  text += body;
  Effect& effect = add(EffectKind::respond, request);
  effect.status = status;
  effect.code = code;
  effect.header = header;
  end_text(effect);
}

}  // namespace sidekick::sim
