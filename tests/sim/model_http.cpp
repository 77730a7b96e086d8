// Requests from the app server: docs/protocol.md, "App server to Sidekick: HTTP".
#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

/// In the order of the protocol: path, method, bearer, size, body, state.
void Model::http(const Op& op, u32 bytes, u32 request) {
  const bool is_health = op.verb == Verb::health;
  const auto too_large = [&] {
    respond(request, 413,
            compose({"Content Too Large: the limit is ", Digits(config_->http_body_bytes_max),
                     " bytes (http_body_bytes_max)"}));
  };
  const auto unauthorized = [&] {
    respond(request, 401,
            "Unauthorized: expected \"Authorization: Bearer <secret>\" with this Sidekick's secret",
            "WWW-Authenticate: Bearer");
  };
  switch (op.gate) {
    case Gate::wrong_path:
      return respond(request, 404,
                     "Not Found: expected POST /connection, /resources or /message, GET /health, "
                     "or WebSocket /socket");
    case Gate::socket:
      return respond(request, 426, "Upgrade Required: /socket accepts WebSocket connections only",
                     "Upgrade: websocket");
    case Gate::wrong_method:
      if (is_health)
        return respond(request, 405, "Method Not Allowed: use GET, HEAD", "Allow: GET, HEAD");
      return respond(request, 405, "Method Not Allowed: use POST", "Allow: POST");
    case Gate::no_secret:
      if (is_health) break;
      [[fallthrough]];
    case Gate::wrong_secret:
      return unauthorized();
    case Gate::too_large:
      if (is_health) break;
      return too_large();
    case Gate::open:
    case Gate::other_secret:
      break;
    case Gate::count:
      trap();
  }
  if (is_health) return health(request, op.gate != Gate::no_secret);
  if (bytes > config_->http_body_bytes_max) {
    verdict_ = Checker::limits;
    return too_large();
  }
  const Complaint complaint = complaint_of(op, bytes);
  if (!complaint.text.empty()) {
    if (complaint.is_limit) verdict_ = Checker::limits;
    return respond(request, 400, compose({"Bad Request: ", complaint.text}));
  }
  if (op.verb == Verb::connection) return connection(op, request);
  if (op.verb == Verb::message) {
    if (subscriber_count(op.scope) > 0) {
      begin_text();
      text += "{ \"type\": \"message\", ";
      append_scope(op.scope, op.order);
      if (op.payload.shape != Shape::absent)
        append_payload(text.append(", \"data\": "), op.payload);
      text += " }";
      end_text(add(EffectKind::publish, op.scope));
    }
    return respond(request, 200, "OK");
  }
  changed_.clear();
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    const u32 resource = at % static_cast<u32>(words_.resources.size());
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
  respond(request, 200, "OK");
}

void Model::connection(const Op& op, u32 request) {
  TokenFacts& token = tokens_[op.token];
  if (token.hold == Hold::held || token.hold == Hold::subscribed) {
    verdict_ = Checker::one_holder;
    return respond(request, 409, "Conflict: a client holds this token; register a new token");
  }
  if (token.hold == Hold::none && token_count_ >= config_->tokens_max) {
    verdict_ = Checker::limits;
    return respond(request, 503,
                   "Service Unavailable: token limit reached (tokens_max); try again later");
  }
  const TokenFacts before = token;
  token.hold = Hold::free;
  token.scope = op.scope;
  token.order = op.order;
  token.context = op.payload;
  token.cost = cost_of(op.token);
  if (token_bytes_ - before.cost + token.cost > config_->token_store_bytes_max) {
    token = before;
    verdict_ = Checker::limits;
    return respond(
        request, 503,
        "Service Unavailable: token store is full (token_store_bytes_max); try again later");
  }
  token_bytes_ = token_bytes_ - before.cost + token.cost;
  if (before.hold == Hold::none) ++token_count_;
  token.expires_at = now_ + config_->token_ttl_ms;
  wait_until(token.expires_at);
  Effect& effect = add(EffectKind::put, op.token);
  effect.expires_at = token.expires_at;
  begin_text();
  append_record(text, op.token);
  end_text(effect);
  respond(request, 200, "OK");
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

/// `body`: a pattern.
void Model::respond(u32 request, u32 status, Bytes body, const char* header) {
  begin_text();
  text += body;
  Effect& effect = add(EffectKind::respond, request);
  effect.status = status;
  effect.header = header;
  end_text(effect);
}

}  // namespace sidekick::sim
