// Messages from clients: docs/protocol.md, "Client and Sidekick".
#include <algorithm>

#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

namespace {

constexpr char invalid_ion[] = "not valid ION: expected *, found * at byte #";
constexpr char too_many_tokens[] = "token limit of this connection reached (tokens_per_client_max)";
constexpr char unknown_outcome[] =
    "the outcome of this message is not known; it may have been processed";
constexpr char invalid_token[] = "invalid token: unknown, expired, or held by another connection";

}  // namespace

/// The first applicable entry of the list in docs/protocol.md, "Errors", as far as the message
/// alone decides. Within one member the first error is reported; for one value the type comes
/// first, then the count, then the length.
Model::Complaint Model::complaint_of(const Op& op, u32 bytes) const {
  const Flaw flaw = flaw_of(op);
  const FlawFacts& facts = flaw_facts[static_cast<u32>(flaw)];
  if (op.kind == OpKind::frame && bytes > config_->frame_bytes_max) {
    return {too_long("message", bytes, config_->frame_bytes_max, "frame_bytes_max"), false, false,
            true, ErrorCode::size};
  }
  // The object itself counts as one level.
  const bool is_too_deep = uses_scope(op.verb) && op.payload.shape == Shape::nested &&
                           op.payload.size + 1u > config_->depth_max;
  // The payload comes before what else is wrong, except in a message that is all garbage.
  if (is_too_deep && facts.stage != Stage::object && flaw != Flaw::garbage)
    return {invalid_ion, false, false, false, ErrorCode::size};
  if (facts.stage == Stage::syntax) return {invalid_ion, false, false, false, ErrorCode::syntax};
  if (facts.stage == Stage::object || facts.stage == Stage::twice)
    return {facts.complaint, false, false, false, ErrorCode::shape};
  if (facts.stage == Stage::id && is_extended(op))
    return {facts.complaint, false, false, false, ErrorCode::shape};

  Complaint complaint;
  const ScopeWords* scope = uses_scope(op.verb) ? &words_.scopes[op.scope] : nullptr;
  const bool is_channel_long =
      scope != nullptr && scope->channel.bytes.size() > config_->channel_bytes_max;
  static const std::string fine;
  const std::string& params_complaint =
      scope != nullptr
          ? scope->params_complaint[config_ - swarm_.configs][scope->order_of(op.order)]
          : fine;
  complaint.has_channel = scope != nullptr && facts.stage != Stage::channel && !is_channel_long;
  complaint.has_params =
      scope != nullptr && facts.stage != Stage::params && params_complaint.empty();
  const auto say = [&complaint](std::string said, bool is_limit = false) {
    complaint.text = std::move(said);
    complaint.is_limit = is_limit;
    complaint.code = is_limit ? ErrorCode::size : ErrorCode::shape;
    return std::move(complaint);
  };
  if (facts.stage == Stage::type) return say(facts.complaint);
  if (uses_token(op.verb)) {
    const std::size_t size = words_.tokens[op.token].bytes.size();
    if (facts.stage == Stage::token) return say(facts.complaint);
    if (size > config_->token_bytes_max)
      return say(too_long("\"token\"", size, config_->token_bytes_max, "token_bytes_max"), true);
  }
  if (scope != nullptr) {
    if (facts.stage == Stage::channel) return say(facts.complaint);
    if (is_channel_long)
      return say(too_long("\"channel\"", scope->channel.bytes.size(), config_->channel_bytes_max,
                          "channel_bytes_max"),
                 true);
    // A flaw in the params comes after all other params; without params the others do not matter.
    const bool has_others = flaw != Flaw::no_params && flaw != Flaw::params_array;
    if (!params_complaint.empty() && has_others) return say(params_complaint, true);
    const bool is_one_too_many =
        flaw == Flaw::param_twice && scope->params.size() + 2 > config_->params_max;
    if (is_one_too_many) return say(too_many_params(*config_), true);
    if (facts.stage == Stage::params) return say(facts.complaint);
  }
  const bool is_extension_wrong = facts.stage == Stage::extension && is_extended(op);
  if (!uses_resources(op.verb)) return is_extension_wrong ? say(facts.complaint) : complaint;
  Complaint resources = resources_complaint(op);
  if (!resources.text.empty()) return say(std::move(resources.text), resources.is_limit);
  if (is_extension_wrong) return say(facts.complaint);
  if (says_hello(op) && op.count > 0)
    return say("\"resources\" must be empty where \"hello\" is said");
  return complaint;
}

Model::Complaint Model::resources_complaint(const Op& op) const {
  const FlawFacts& facts = flaw_facts[static_cast<u32>(flaw_of(op))];
  if (facts.stage == Stage::resources && flaw_of(op) != Flaw::resource_number)
    return {facts.complaint, false, false, false, ErrorCode::shape};
  const Digits most(config_->resources_per_message_max);
  const auto too_many = [&] {
    return Complaint{
        compose({"expected at most ", most, " resources (resources_per_message_max), found more"}),
        false, false, true, ErrorCode::size};
  };
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    if (i == config_->resources_per_message_max) return too_many();
    const std::size_t size = words_.resources[at % words_.resources.size()].bytes.size();
    if (size <= config_->resource_bytes_max) continue;
    return {too_long(compose({"resources[", Digits(i), "]"}), size, config_->resource_bytes_max,
                     "resource_bytes_max"),
            false, false, true, ErrorCode::size};
  }
  if (facts.stage != Stage::resources) return {};
  if (op.count == config_->resources_per_message_max) return too_many();
  return {compose({"resources[", Digits(op.count), "] must be a string, found a number at byte #"}),
          false, false, false, ErrorCode::shape};
}

void Model::frame(const Op& op, u32 bytes) {
  ClientFacts& client = clients_[op.client];
  if (!client.is_open) return;
  const bool has_credit = has_frame_credit(client);
  if (op.is_text && !is_utf8(op))
    return drop(op.client, 1007, ErrorCode::utf8, "a text message must be UTF-8");
  if (!has_credit) {
    verdict_ = Checker::limits;
    return refuse(op, "client", ErrorCode::rate,
                  "message rate limit exceeded (frames_per_second); send more slowly", false,
                  false);
  }
  is_oversized_ = bytes > config_->frame_bytes_max;
  const Complaint complaint = complaint_of(op, bytes);
  if (complaint.text.empty()) return take_frame(op);
  if (complaint.is_limit) verdict_ = Checker::limits;
  refuse(op, "client", complaint.code, complaint.text, complaint.has_channel, complaint.has_params);
}

void Model::take_frame(const Op& op) {
  switch (op.verb) {
    case Verb::subscribe:
      return take_subscribe(op);
    case Verb::unsubscribe:
      return take_unsubscribe(op);
    case Verb::send:
      return take_send(op);
    case Verb::listen:
      return take_listen(op);
    case Verb::unlisten:
      return take_unlisten(op);
    case Verb::ping:
      begin_text();
      text += "{\"type\":\"pong\"";
      if (has_session(op.client)) text.append(",\"at\":").append(Digits(position()));
      text += "}";
      return end_text(add(EffectKind::send, op.client));
    case Verb::connection:
    case Verb::resources:
    case Verb::message:
    case Verb::health:
    case Verb::ready:
      trap();  // not a message of a client
  }
}

bool Model::has_frame_credit(ClientFacts& client) {
  if (config_->frames_per_second == 0) return true;
  client.frame_credit =
      std::min<u64>(u64{config_->frames_burst} * 1000,
                    client.frame_credit + (now_ - client.credited_at) * config_->frames_per_second);
  client.credited_at = now_;
  if (client.frame_credit < 1000) return false;
  client.frame_credit -= 1000;
  return true;
}

bool Model::may_use(const Op& op) {
  const TokenFacts& token = tokens_[op.token];
  if (token.hold == Hold::free || (token.hold != Hold::none && token.holder == op.client))
    return true;
  if (op.verb == Verb::send && op.is_repeat && has_session(op.client)) {
    verdict_ = Checker::acks;
    refuse(op, "sidekick", ErrorCode::unknown, unknown_outcome, true, true);
    return false;
  }
  verdict_ = token.hold != Hold::none ? Checker::one_holder
             : token.was_lost         ? Checker::stored
                                      : Checker::expiry;
  refuse(op, "client", ErrorCode::token, invalid_token, uses_scope(op.verb), uses_scope(op.verb));
  return false;
}

void Model::take_subscribe(const Op& op) {
  if (!may_use(op)) return;
  TokenFacts& token = tokens_[op.token];
  const bool was_free = token.hold == Hold::free;
  if (was_free && !hold(op)) return;
  const u32 recorded = find_recorded(op);
  if (token.hold == Hold::held) {
    token.hold = Hold::subscribed;
    subscribe(token.scope, op.client);
    touch(op.token);
  }
  if (was_free) attach_token(op.client, "tokens", op.token);
  if (recorded == nobody) return say_scope(op, "subscribed", token.scope, token.order);
  say_missed(op, recorded);
}

/// Takes a token for the client if it may have one more.
bool Model::hold(const Op& op) {
  ClientFacts& client = clients_[op.client];
  if (client.tokens.size() >= config_->tokens_per_client_max) {
    verdict_ = Checker::limits;
    refuse(op, "client", ErrorCode::client_full, too_many_tokens, uses_scope(op.verb),
           uses_scope(op.verb));
    return false;
  }
  TokenFacts& token = tokens_[op.token];
  token.hold = Hold::held;
  token.holder = op.client;
  set_session(op.token, has_session(op.client) ? client.session : no_session);
  token.expires_at = 0;
  client.tokens.push_back(op.token);
  return true;
}

void Model::take_unsubscribe(const Op& op) {
  if (!may_use(op)) return;
  TokenFacts& token = tokens_[op.token];
  const u32 scope = token.scope;
  const u32 order = token.order;
  erase(op.token, true);
  if (token.hold != Hold::free) {
    if (token.hold == Hold::subscribed) unsubscribe(scope, op.client);
    std::erase(clients_[op.client].tokens, op.token);
    attach_token(op.client, "tokens_gone", op.token);
  }
  forget(op.token);
  say_scope(op, "unsubscribed", scope, order);
}

void Model::take_send(const Op& op) {
  if (!may_use(op)) return;
  TokenFacts& token = tokens_[op.token];
  if (token.scope != op.scope) {
    verdict_ = Checker::own_scope;
    return refuse(op, "client", ErrorCode::scope,
                  "the token was issued for another channel or other params", true, true);
  }
  if (token.hold == Hold::free &&
      clients_[op.client].tokens.size() >= config_->tokens_per_client_max) {
    verdict_ = Checker::limits;
    return refuse(op, "client", ErrorCode::client_full, too_many_tokens, true, true);
  }
  if (has_session(op.client) && op.id != 0 && repeat(op)) return;
  if (is_stopping_)
    return refuse(op, "sidekick", ErrorCode::stopping,
                  "Sidekick is shutting down; the message was not forwarded", true, true);
  forward(op);
}

void Model::take_listen(const Op& op) {
  if (says_hello(op)) return take_hello(op);
  ClientFacts& client = clients_[op.client];
  changed_.clear();
  missed_.clear();
  if (config_->listen_lookback_ms != 0) start_log();
  const bool is_recovered = is_known(op) && is_log_on_ && op.since >= log_floor_;
  const bool has_since = op.has_since && has_session(op.client);
  const u64 since = is_recovered ? op.since : position_before(config_->listen_lookback_ms);
  const bool looks_back = is_recovered || (config_->listen_lookback_ms != 0 && !has_since);
  u64 bytes = 0;
  u64 cost = 0;
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    const u32 resource = at % static_cast<u32>(words_.resources.size());
    if (is_marked_[resource]) continue;
    is_marked_[resource] = 1;
    asked_.push_back(static_cast<u16>(resource));
    if (looks_back && changed_at(resource) > since) missed_.push_back(static_cast<u16>(resource));
    if (is_subscribed(resource_topic(resource), op.client)) continue;
    changed_.push_back(static_cast<u16>(resource));
    bytes += words_.resources[resource].bytes.size();
    cost += listen_cost(resource);
  }
  for (const u32 resource : asked_) is_marked_[resource] = 0;
  if (is_recovered) check_missed(op);
  asked_.clear();
  const auto limit = [&](const char* fault, ErrorCode code, const char* reason) {
    verdict_ = Checker::limits;
    refuse(op, fault, code, reason, false, false);
  };
  if (client.resources.size() + changed_.size() > config_->topics_per_client_max) {
    return limit(
        "client", ErrorCode::client_full,
        "number of resources exceeds the limit of this connection (topics_per_client_max)");
  }
  if (client.resource_bytes + bytes > config_->topic_bytes_per_client_max) {
    return limit("client", ErrorCode::client_full,
                 "resource names exceed the limit of this connection (topic_bytes_per_client_max)");
  }
  if (topic_bytes_ + cost > config_->topic_store_bytes_max) {
    return limit("sidekick", ErrorCode::full,
                 "resource store is full (topic_store_bytes_max); try again later");
  }

  for (const u32 resource : changed_) subscribe(resource_topic(resource), op.client);
  client.resources.insert(client.resources.end(), changed_.begin(), changed_.end());
  client.resource_bytes += bytes;
  if (!changed_.empty()) attach_resources(op.client, "resources");
  is_recovered_ = is_recovered;
  if (has_since) verdict_ = Checker::recovered;
  say_resources(op, "listening");
  if (is_recovered) return;
  if (!missed_.empty()) verdict_ = Checker::recovered;
  for (const u32 resource : missed_) say_updated(op.client, resource);
}

void Model::take_unlisten(const Op& op) {
  ClientFacts& client = clients_[op.client];
  changed_.clear();
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    const u32 resource = at % static_cast<u32>(words_.resources.size());
    if (!is_subscribed(resource_topic(resource), op.client)) continue;
    unsubscribe(resource_topic(resource), op.client);
    std::erase(client.resources, static_cast<u16>(resource));
    client.resource_bytes -= words_.resources[resource].bytes.size();
    changed_.push_back(static_cast<u16>(resource));
  }
  if (!changed_.empty()) attach_resources(op.client, "resources_gone");
  say_resources(op, "unlistening");
}

/// An error names the channel and params of the rejected message, as far as they could be read.
void Model::refuse(const Op& op, const char* fault, ErrorCode code, Bytes pattern, bool has_channel,
                   bool has_params) {
  begin_text();
  text += "{ \"type\": \"error\", \"error\": { \"channel\": ";
  text += has_channel ? words_.scopes[op.scope].channel.literal : "\"unknown\"";
  text += ", \"params\": ";
  const ScopeWords& scope = words_.scopes[op.scope];
  const std::string& params = scope.params_text[scope.order_of(op.order)];
  text += has_params && params.size() <= 4096 ? params : "{}";
  end_error(op.client, fault, code, pattern, told_id(op, code));
}

void Model::end_error(u32 client, const char* fault, ErrorCode code, Bytes pattern, u64 id) {
  text.append(", \"fault\": \"").append(fault).append("\", \"message\": \"").append(pattern);
  Effect& effect = add(EffectKind::send, client);
  effect.is_error = true;
  effect.code = code;
  effect.pattern_size = static_cast<u32>(pattern.size());
  const std::size_t before = text.size();
  text += "\" }";
  append_id(client, id);
  if (has_session(client)) text.append(", \"code\": \"").append(name_of(code)).append("\"");
  text += " }";
  effect.tail_size = static_cast<u32>(text.size() - before);
  end_text(effect);
}

void Model::append_scope(u32 scope, u32 order) {
  const ScopeWords& words = words_.scopes[scope];
  text.append("\"channel\": ")
      .append(words.channel.literal)
      .append(", \"params\": ")
      .append(words.params_text[words.order_of(order)]);
}

void Model::say_scope(const Op& op, const char* type, u32 scope, u32 order) {
  begin_text();
  text.append("{ \"type\": \"").append(type).append("\"");
  append_id(op.client, op.id);
  text += ", ";
  append_scope(scope, order);
  if (op.verb == Verb::subscribe) append_at(op.client);
  if (op.verb == Verb::subscribe && op.has_since && has_session(op.client))
    text += ", \"recovered\": false";
  text += " }";
  end_text(add(EffectKind::send, op.client));
}

void Model::say_resources(const Op& op, const char* type) {
  begin_text();
  text.append("{ \"type\": \"").append(type).append("\"");
  append_id(op.client, op.id);
  text += ", \"resources\": [";
  u32 at = op.first;
  for (u32 i = 0; i < op.count && !has_session(op.client); ++i, at += op.stride) {
    if (i > 0) text += ", ";
    text += words_.resources[at % words_.resources.size()].literal;
  }
  text += "]";
  if (op.verb == Verb::listen && has_session(op.client)) {
    append_at(op.client);
    text += is_recovered_ ? ", \"recovered\": true, \"changed\": [" : ", \"recovered\": false";
    const char* separator = "";
    for (std::size_t i = 0; is_recovered_ && i < missed_.size(); ++i, separator = ", ")
      text.append(separator).append(words_.resources[missed_[i]].literal);
    if (is_recovered_) text += "]";
  }
  text += " }";
  end_text(add(EffectKind::send, op.client));
}

}  // namespace sidekick::sim
