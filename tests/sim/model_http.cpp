// What the app server says: docs/protocol.md, "App server to Sidekick: HTTP".
#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

/// In the order of the protocol: path, method, bearer, size, body, state.
void Model::http(const Op& op, u32 bytes, u32 request) {
  switch (op.gate) {
    case Gate::wrong_path: return respond(request, 404, "Not Found");
    case Gate::socket: return respond(request, 426, "Upgrade Required");
    case Gate::wrong_method: return respond(request, 405, "Method Not Allowed");
    case Gate::no_secret:
      if (op.verb == Verb::health) break;
      [[fallthrough]];
    case Gate::wrong_secret: return respond(request, 401, "Unauthorized");
    case Gate::too_large:
      if (op.verb == Verb::health) break;
      return respond(request, 413, "(http_body_bytes_max)");
    case Gate::open:
    case Gate::other_secret: break;
    case Gate::count: trap();
  }
  if (op.verb == Verb::health) {
    if (op.gate != Gate::no_secret) return health(request);
    respond(request, 200, nullptr);
    begin_text();
    text += "{\"status\":\"ok\"}";
    return end_text(effects.back());
  }
  if (bytes > config_->http_body_bytes_max) {
    verdict_ = Checker::limits;
    return respond(request, 413, "(http_body_bytes_max)");
  }
  const Complaint complaint = complaint_of(op, bytes);
  if (complaint.text != nullptr) {
    if (complaint.is_limit) verdict_ = Checker::limits;
    return respond(request, 400, complaint.text);
  }
  if (op.verb == Verb::connection) return connection(op, request);
  if (op.verb == Verb::message) {
    if (subscriber_count(op.scope) > 0) {
      begin_text();
      text += "{ \"type\": \"message\", ";
      append_scope(op.scope, op.order);
      if (op.payload.shape != Shape::absent) append_payload(text.append(", \"data\": "), op.payload);
      text += " }";
      end_text(add(EffectKind::publish, op.scope));
    }
    return respond(request, 200, nullptr);
  }
  changed_.clear();
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    const u32 resource = at % static_cast<u32>(words_.resources.size());
    if (is_marked_[resource] || subscriber_count(resource_topic(resource)) == 0) continue;
    is_marked_[resource] = 1;
    changed_.push_back(static_cast<u16>(resource));
    begin_text();
    text.append("{ \"type\": \"updated\", \"resource\": ").append(words_.resources[resource].literal).append(" }");
    end_text(add(EffectKind::publish, resource_topic(resource)));
  }
  for (const u32 resource : changed_) is_marked_[resource] = 0;
  respond(request, 200, nullptr);
}

void Model::connection(const Op& op, u32 request) {
  TokenFacts& token = tokens_[op.token];
  if (token.hold == Hold::held || token.hold == Hold::subscribed) {
    verdict_ = Checker::one_holder;
    return respond(request, 409, "");
  }
  if (token.hold == Hold::none && token_count_ >= config_->tokens_max) {
    verdict_ = Checker::limits;
    return respond(request, 503, "(tokens_max)");
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
    return respond(request, 503, "(token_store_bytes_max)");
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
  respond(request, 200, nullptr);
}

void Model::health(u32 request) {
  begin_text();
  text.append("{\"status\":\"ok\",\"version\":\"").append(core_version).append("\",\"clients\":").append(Digits(client_count_));
  text.append(",\"tokens\":").append(Digits(token_count_)).append(",\"topics\":").append(Digits(topic_count_));
  text.append(",\"forwards\":").append(Digits(flights_.size())).append("}");
  verdict_ = Checker::nothing_left;
  Effect& effect = add(EffectKind::respond, request);
  effect.status = 200;
  end_text(effect);
}

/// `needle`: what the body must contain; nullptr: it must be OK.
void Model::respond(u32 request, u32 status, const char* needle) {
  Effect& effect = add(EffectKind::respond, request);
  effect.status = status;
  effect.is_error = needle != nullptr;
  effect.needle = needle;
  if (needle != nullptr) return;
  begin_text();
  text += "OK";
  end_text(effect);
}

}  // namespace sidekick::sim
