// Time, sockets, topics, and the state of a new hub.
#include "model.hpp"

#include <algorithm>

#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

Model::Model(const Swarm& swarm, const Words& words)
    : swarm_(swarm),
      config_(swarm.configs),
      words_(words),
      tokens_(swarm.tokens),
      clients_(swarm.clients),
      subscriptions_((swarm.scopes + swarm.resources) * swarm.clients),
      subscriber_counts_(swarm.scopes + swarm.resources),
      recorded_(swarm.scopes),
      last_change_(swarm.resources),
      sent_to_(swarm.scopes),
      told_(swarm.sessions),
      handed_on_(swarm.tokens),
      is_marked_(swarm.resources) {}

void Model::step(const Op& op, u32 bytes, u32 request) {
  effects.clear();
  text.clear();
  verdict_.reset();
  broken_promise_ = nullptr;
  now_ = std::max(now_, op.now);
  pass_clock(op.now);
  if (op.kind == OpKind::restored) settle();
  if (op.kind == OpKind::close) close(op.client);
  if (drain_.slice_at != 0) verdict_ = Checker::drained;
  record_epoch();
  expire();
  own_from = static_cast<u32>(effects.size());
  switch (op.kind) {
    case OpKind::open: {
      const Admission admission = this->admission(op);
      if (op.knock == Knock::admitted_before ||
          (admission.kind == VerdictKind::socket && op.knock == Knock::asked))
        return open(op.client);
      if (admission.code == ErrorCode::full) verdict_ = Checker::limits;
      return respond(request, admission.status, admission.code, admission.text, admission.header);
    }
    case OpKind::frame:
      return frame(op, bytes);
    case OpKind::lag:
      return lag(op.client, op.serial);
    case OpKind::http:
      return http(op, bytes, request);
    case OpKind::answer:
      return answer(op);
    case OpKind::shut_down:
      is_stopping_ = true;
      return;
    case OpKind::drain:
      return drain(op);
    case OpKind::not_stored:
      return not_stored(op);
    case OpKind::close:
    case OpKind::timer:
    case OpKind::restart:
    case OpKind::twin:
    case OpKind::restored:
      return;
  }
}

/// The end of a restore: clients that are not back count as closed.
void Model::settle() {
  for (u32 token = 0; token < tokens_.size(); ++token) {
    if (tokens_[token].is_unclaimed) free_token(token);
  }
}

void Model::expire() {
  if (soonest_ == 0 || now_ < soonest_) return;
  for (u32 token = 0; token < tokens_.size(); ++token) {
    if (tokens_[token].hold != Hold::free || tokens_[token].expires_at > now_) continue;
    erase(token);
    forget(token);
  }
  if (drain_.slice_at != 0 && drain_.slice_at <= now_) {
    expire_flights(drain_.slice_at);
    close_drained();
  }
  expire_flights(now_);
  recount_soonest();
}

Millis Model::soonest() {
  recount_soonest();
  return soonest_;
}

void Model::recount_soonest() {
  soonest_ = 0;
  for (const TokenFacts& token : tokens_) {
    if (token.hold == Hold::free && !token.is_unclaimed) wait_until(token.expires_at);
  }
  for (const Flight& flight : flights_) wait_until(flight.gives_up_at);
  if (drain_.slice_at != 0) wait_until(drain_.slice_at);
}

void Model::drain(const Op& op) {
  verdict_ = Checker::drained;
  drain_ = {true, client_count_, now_ + op.serial / 5, now_ + op.serial, 0};
  close_drained();
}

/// Nobody leaves in the first fifth of the time; then every 100 ms as many as a steady rate
/// demands.
void Model::close_drained() {
  u32 kept = drain_.clients;
  if (now_ >= drain_.until)
    kept = 0;
  else if (now_ > drain_.from)
    kept = static_cast<u32>(u64{kept} * (drain_.until - now_) / (drain_.until - drain_.from));
  while (client_count_ > kept) {
    u32 next = nobody;
    for (u32 i = 0; i < clients_.size(); ++i) {
      if (!clients_[i].is_open) continue;
      if (next == nobody || std::pair(is_busy(i), clients_[i].handle) <
                                std::pair(is_busy(next), clients_[next].handle))
        next = i;
    }
    drop_drained(next);
  }
  const Millis next_at = std::min(std::max(now_, drain_.from) + 100, drain_.until);
  drain_.slice_at = client_count_ == 0 ? 0 : next_at;
  if (client_count_ > 0) wait_until(next_at);
}

void Model::drop_drained(u32 client) {
  drop(client, 4001, ErrorCode::stopping, "this Sidekick is shutting down; connect again");
}

/// Whether a message of one of its tokens is on its way.
bool Model::is_busy(u32 client) const {
  return std::any_of(clients_[client].tokens.begin(), clients_[client].tokens.end(),
                     [this](u16 token) { return tokens_[token].lane != nobody; });
}

void Model::open(u32 client) {
  if (client_count_ >= config_->clients_max) {
    verdict_ = Checker::limits;
    return close_socket(client, 1013, ErrorCode::full,
                        "connection limit reached (clients_max); try again later");
  }
  ++client_count_;
  ClientFacts& it = clients_[client];
  it.is_open = true;
  ++it.generation;
  it.frame_credit = u64{config_->frames_burst} * 1000;
  it.credited_at = now_;
  if (!drain_.is_on) return;
  verdict_ = Checker::drained;
  drop_drained(client);
}

void Model::close(u32 client) {
  ClientFacts& it = clients_[client];
  if (!it.is_open) return;
  it.is_open = false;
  --client_count_;
  const bool had_session = has_session(client);
  for (const u32 token : it.tokens) {
    // A channel is left with its first token: channels that were left first are forgotten first.
    u8& times = subscriptions_[tokens_[token].scope * clients_.size() + client];
    if (tokens_[token].hold == Hold::subscribed && times != 0) {
      times = 1;
      unsubscribe(tokens_[token].scope, client);
    }
    free_token(token);
  }
  for (const u32 resource : it.resources) unsubscribe(resource_topic(resource), client);
  it.tokens.clear();
  it.resources.clear();
  it.resource_bytes = 0;
  it.session = no_one;
  if (session_count() == 0 && had_session) sessions_left_at_ = now_;
}

void Model::lag(u32 client, u32 bytes) {
  if (!clients_[client].is_open || bytes <= config_->client_buffer_bytes_max) return;
  drop(client, 1013, ErrorCode::slow,
       "client reads too slowly: send buffer limit exceeded (client_buffer_bytes_max)");
}

/// Closes the socket of an open client, which the hub forgets.
void Model::drop(u32 client, u32 status, ErrorCode code, const char* reason) {
  close(client);
  add(EffectKind::attach, client).status = 1;  // erased
  close_socket(client, status, code, reason);
}

void Model::close_socket(u32 client, u32 status, ErrorCode code, const char* reason) {
  begin_text();
  text += reason;
  Effect& effect = add(EffectKind::close, client);
  effect.status = status;
  effect.code = code;
  end_text(effect);
}

/// The client or the request learns that nothing was confirmed; a token that is not stored is gone,
/// as is one whose end is not stored.
void Model::not_stored(const Op& op) {
  verdict_ = Checker::stored;
  if (op.token != no_one && tokens_[op.token].hold != Hold::none) {
    const TokenFacts& token = tokens_[op.token];
    if (token.hold == Hold::subscribed) unsubscribe(token.scope, token.holder);
    if (token.hold != Hold::free) std::erase(clients_[token.holder].tokens, op.token);
    forget(op.token);
    tokens_[op.token].was_lost = true;
  }
  if (op.token != no_one) erase(op.token, false);
  if (op.serial != 0) {
    respond(op.serial, 503, ErrorCode::storage,
            "Service Unavailable: storage failed; see the log of the Sidekick");
  }
  if (op.client != no_one && clients_[op.client].is_open)
    drop(op.client, 1011, ErrorCode::storage, "internal error: storage failed");
}

/// The holder's socket is gone.
void Model::free_token(u32 token) {
  TokenFacts& it = tokens_[token];
  it.is_unclaimed = false;
  it.holder = nobody;
  if (config_->token_resume_ms == 0) {
    erase(token);
    forget(token);
    return;
  }
  it.hold = Hold::free;
  it.expires_at = now_ + config_->token_resume_ms;
  wait_until(it.expires_at);
  touch(token);
}

void Model::forget(u32 token) {
  TokenFacts& it = tokens_[token];
  if (it.lane != nobody) lanes_[it.lane].token = nobody;
  --token_count_;
  token_bytes_ -= it.cost;
  handed_on_[token].clear();
  it = TokenFacts{};
}

namespace {

/// The quantity that topic_store_bytes_max limits: a topic's name plus 128 bytes, and for each
/// listener the name in its stored form plus 16.
constexpr u32 prefix_bytes = sizeof "resource:" - 1;
u64 topic_cost(const Word& resource) { return resource.bytes.size() + prefix_bytes + 128; }
u64 listener_cost(const Word& resource) { return resource.literal.size() + prefix_bytes + 16; }

}  // namespace

u64 Model::listen_cost(u32 resource) const {
  const Word& word = words_.resources[resource];
  return listener_cost(word) +
         (subscriber_count(resource_topic(resource)) == 0 ? topic_cost(word) : 0);
}

/// One counter per client and topic: two tokens on one topic are one subscription, which ends with
/// the last.
void Model::subscribe(u32 topic, u32 client) {
  u8& times = subscriptions_[topic * clients_.size() + client];
  if (topic < words_.scopes.size() && has_session(client)) join_history(topic);
  if (times++ != 0) return;
  if (topic >= words_.scopes.size())
    topic_bytes_ += listen_cost(topic - static_cast<u32>(words_.scopes.size()));
  if (subscriber_counts_[topic]++ == 0) ++topic_count_;
}

void Model::unsubscribe(u32 topic, u32 client) {
  u8& times = subscriptions_[topic * clients_.size() + client];
  if (--times != 0) return;
  if (--subscriber_counts_[topic] == 0) --topic_count_;
  if (topic < words_.scopes.size() && has_session(client) &&
      subscriber_count(topic, Audience::hello) == 0)
    leave_history(topic);
  if (topic >= words_.scopes.size())
    topic_bytes_ -= listen_cost(topic - static_cast<u32>(words_.scopes.size()));
}

/// Reads records as docs/architecture.md describes them.
void Model::reload(Millis now, u8 config, u64 epoch, const std::vector<TokenRow>& rows,
                   const std::vector<std::string>& records, const std::vector<u8>& is_back) {
  begin(now, epoch);
  config_ = swarm_.configs + config;
  for (const Flight& flight : flights_) ghosts_.push_back({flight.message.serial, flight.id});
  if (ghosts_.size() > ghosts_max)
    ghosts_.erase(ghosts_.begin(), ghosts_.end() - static_cast<std::ptrdiff_t>(ghosts_max));
  for (Ghost& ghost : ghosts_) ghost.is_of_earlier_hub = true;
  flights_.clear();
  lanes_.clear();
  drain_ = {};
  lane_count_ = client_count_ = token_count_ = topic_count_ = 0;
  forward_bytes_ = topic_bytes_ = token_bytes_ = 0;
  std::fill(subscriptions_.begin(), subscriptions_.end(), u8{0});
  std::fill(subscriber_counts_.begin(), subscriber_counts_.end(), 0u);
  for (u32 token = 0; token < tokens_.size(); ++token) reload_token(token, rows[token]);
  for (u32 client = 0; client < clients_.size(); ++client)
    reload_client(client, is_back[client] != 0, records[client]);
  // A restored hub has no log and no history. Its positions are later than all told before.
  is_log_on_ = session_count() > 0;
  started_at_ = log_floor_ = position();
  for (Recorded& recorded : recorded_) recorded.floor = position();
  recount_soonest();
}

void Model::reload_token(u32 token, const TokenRow& row) {
  TokenFacts& it = tokens_[token] = TokenFacts{};
  if (!row.is_there) return;
  it.hold = static_cast<Hold>(row.state);
  it.is_unclaimed = it.hold != Hold::free;  // until the client that held it is back
  it.expires_at = row.expires_at;
  it.scope = row.scope;
  it.order = row.order;
  it.context = row.context;
  it.cost = cost_of(token);
  ++token_count_;
  token_bytes_ += it.cost;
}

void Model::reload_client(u32 client, bool is_back, Bytes record) {
  ClientFacts& it = clients_[client];
  it.is_open = is_back;
  it.tokens.clear();
  it.resources.clear();
  it.session = no_one;
  it.resource_bytes = 0;
  it.frame_credit = u64{config_->frames_burst} * 1000;
  it.credited_at = now_;
  if (!is_back) return;
  ++client_count_;
  while (!record.empty()) {
    const std::size_t end = std::min(record.find('\n'), record.size());
    read_line(record.substr(0, end), it);
    record.remove_prefix(std::min(end + 1, record.size()));
  }
  std::erase_if(it.tokens, [&](u16 token) {
    if (token >= tokens_.size() || !tokens_[token].is_unclaimed) return true;
    tokens_[token].is_unclaimed = false;
    tokens_[token].holder = client;
    set_session(token, has_session(client) ? clients_[client].session : no_session);
    if (tokens_[token].hold == Hold::subscribed) subscribe(tokens_[token].scope, client);
    return false;
  });
  for (const u32 resource : it.resources) {
    it.resource_bytes += words_.resources[resource].bytes.size();
    subscribe(resource_topic(resource), client);
  }
}

/// { "tokens": ["t"], "resources": [] }, or a change such as { "resources_gone": ["todo/1"] }.
/// Skips the member with which Trial::write_later ends a record of a later version.
void Model::read_line(Bytes line, ClientFacts& client) {
  read_greeting(line, client);
  line.remove_prefix(std::min(line.find("\"tokens"), line.find("\"resources")));
  for (std::size_t at = line.find('"'); at != Bytes::npos; at = line.find('"')) {
    line.remove_prefix(at);
    const std::size_t start = line.find('[');
    if (start == Bytes::npos || line.starts_with("\"later")) return;
    const Bytes name = line.substr(0, start);
    line.remove_prefix(start + 1);
    const bool are_tokens = name.starts_with("\"tokens");
    std::vector<u16>& names = are_tokens ? client.tokens : client.resources;
    while (line.starts_with("\"")) {
      std::size_t end = 1;
      while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
      const Bytes literal = line.substr(0, end + 1);
      line.remove_prefix(literal.size());
      if (line.starts_with(", ")) line.remove_prefix(2);
      const u16 it = static_cast<u16>(are_tokens ? words_.find_token_literal(literal)
                                                 : words_.find_resource_literal(literal));
      if (it >= (are_tokens ? tokens_.size() : words_.resources.size()))
        continue;  // not a name of this world
      std::erase(names, it);
      if (!name.starts_with("\"tokens_gone") && !name.starts_with("\"resources_gone"))
        names.push_back(it);
    }
  }
}

Effect& Model::add(EffectKind kind, u32 who) {
  Effect& effect = effects.emplace_back();
  effect.kind = kind;
  effect.who = who;
  return effect;
}

void Model::touch(u32 token) {
  const TokenFacts& it = tokens_[token];
  Effect& effect = add(EffectKind::touch, token);
  effect.state = static_cast<u8>(it.hold);
  effect.expires_at = it.hold == Hold::free ? it.expires_at : 0;
  effect.is_durable = it.hold != Hold::free;  // its client is told
}

void Model::erase(u32 token, bool is_told) { add(EffectKind::erase, token).is_durable = is_told; }

void Model::attach_token(u32 client, const char* what, u32 token) {
  begin_text();
  text.append("\n{ \"")
      .append(what)
      .append("\": [")
      .append(words_.tokens[token].literal)
      .append("] }");
  Effect& effect = add(EffectKind::attach, client);
  effect.is_durable = true;
  end_text(effect);
}

/// Of those in `changed_`.
void Model::attach_resources(u32 client, const char* what) {
  begin_text();
  text.append("\n{ \"").append(what).append("\": [");
  const char* separator = "";
  for (const u32 resource : changed_) {
    text.append(separator).append(words_.resources[resource].literal);
    separator = ", ";
  }
  text += "] }";
  Effect& effect = add(EffectKind::attach, client);
  effect.is_durable = true;
  end_text(effect);
}

void Model::append_record(std::string& out, u32 token) const {
  const TokenFacts& it = tokens_[token];
  const ScopeWords& scope = words_.scopes[it.scope];
  out.append("{ \"channel\": ")
      .append(scope.channel.literal)
      .append(", \"params\": ")
      .append(scope.params_text[scope.order_of(it.order)]);
  if (it.context.shape != Shape::absent) append_payload(out.append(", \"context\": "), it.context);
  out += " }";
}

void Model::append_client_record(std::string& out, u32 client) const {
  const ClientFacts& it = clients_[client];
  out += "{ ";
  if (has_session(client)) {
    out.append("\"session\": \"").append(words_.sessions[it.session]).append("\", \"epoch\": \"");
    append_epoch(out, epoch_);
    out += "\", ";
  }
  out += "\"tokens\": [";
  const char* separator = "";
  for (const u32 token : it.tokens) {
    out.append(separator).append(words_.tokens[token].literal);
    separator = ", ";
  }
  out += "], \"resources\": [";
  separator = "";
  for (const u32 resource : it.resources) {
    out.append(separator).append(words_.resources[resource].literal);
    separator = ", ";
  }
  out += "] }";
}

u32 Model::cost_of(u32 token) {
  const TokenFacts& it = tokens_[token];
  const ScopeWords& scope = words_.scopes[it.scope];
  const std::size_t before = text.size();
  append_payload(text, it.context);
  const std::size_t context = text.size() - before;
  text.resize(before);
  u32 sends = it.sends.serial == 0 ? 0 : sends_bytes;
  for (const Ending& ending : it.sends.endings) sends += ending.body_bytes;
  return static_cast<u32>(sends + words_.tokens[token].bytes.size() + scope.channel.literal.size() +
                          scope.params_text[0].size() + scope.topic_bytes + context + 256);
}

}  // namespace sidekick::sim
