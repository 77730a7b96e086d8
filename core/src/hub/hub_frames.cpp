// Messages from clients: docs/protocol.md, "Client and Sidekick". Each handler checks everything
// first; a rejected message has changed nothing.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

/// One text for every way a token can be invalid, so that guessing reveals nothing.
constexpr char invalid_token[] = "invalid token: unknown, expired, or held by another connection";
void begin_reply(TextArena& out, const char* type, const Message& message) {
  append_id(out.write({"{ \"type\": \"", type, "\""}), message.id);
}

void append_channel(TextArena& out, const Token& token) {
  out.write({", \"channel\": ", token.channel(), ", \"params\": ", token.params()});
}

/// The body of a request to the app server.
Bytes encode_forward(TextArena& out, const Token& token, const Message& message) {
  out.append("{ \"channel\": ")
      .append(token.channel())
      .append(", \"params\": ")
      .append(token.params());
  if (message.data) out.append(", \"data\": ").append(*message.data);
  if (!token.context().empty()) out.append(", \"context\": ").append(token.context());
  return out.append(" }").finish();
}

/// A client that said hello knows what it has asked for.
void append_resources(TextArena& out, bool has_session, std::span<const Bytes> resources) {
  ion::append_strings(out.write({", \"resources\": "}),
                      has_session ? std::span<const Bytes>() : resources);
}

}  // namespace

void Hub::State::on_client_frame(const input::ClientFrame& in, Actions& out) {
  const ClientSlot slot = clients.find(in.client);
  if (slot == none) return;  // the hub has closed it; this frame was already on its way
  metrics[Metric::frames_received_bytes] += in.bytes.size();
  const bool has_credit = take_frame_credit(clients[slot]);
  const bool fits = in.bytes.size() <= config.frame_bytes_max;
  const bool has_session = clients.has_session(slot);
  const std::string* wrong =
      has_credit && fits ? &decoder.decode_frame(in.bytes, has_session) : nullptr;
  const Message& message = decoder.message();
  if (wrong != nullptr && wrong->empty()) {
    ++metrics.at(Metric::frames_subscribe, static_cast<u32>(message.type));
    const bool is_ping = message.type == MessageType::ping;  // waits for nothing
    if (engine.is_on() && !is_ping && has_to_queue(slot, in.bytes, out)) return;
    return on_message(slot, message, out);
  }
  ++metrics[Metric::frames_invalid];
  // RFC 6455, section 8.1, takes precedence over every other error. A message that was decoded
  // without an error is UTF-8.
  if (in.is_text != 0 && !ion::is_utf8(in.bytes)) {
    return emit_close(slot, 1007, ErrorCode::utf8, "a text message must be UTF-8", out);
  }
  if (wrong == nullptr && has_session) decoder.peek_id(in.bytes);
  if (!has_credit) {
    return emit_refusal(slot, Blame::client, {},
                        "message rate limit exceeded (frames_per_second); send more slowly",
                        ErrorCode::rate, out);
  }
  if (!fits) {
    std::string text;
    append_form(text, "message has % bytes; the limit is % (frame_bytes_max)", in.bytes.size(),
                config.frame_bytes_max);
    return emit_refusal(slot, Blame::client, {}, text, ErrorCode::size, out);
  }
  // Answers come in the order of the frames.
  if (engine.is_on() && has_to_queue(slot, in.bytes, out)) return;
  emit_refusal(slot, Blame::client, message.scope, *wrong, decoder.code(), out);
}

void Hub::State::on_message(ClientSlot slot, const Message& message, Actions& out) {
  switch (message.type) {
    case MessageType::subscribe:
      return on_subscribe(slot, message, out);
    case MessageType::unsubscribe:
      return on_unsubscribe(slot, message, out);
    case MessageType::send:
      return on_send(slot, message, out);
    case MessageType::listen:
      return on_listen(slot, message, out);
    case MessageType::unlisten:
      return on_unlisten(slot, message, out);
    case MessageType::ping:
      return on_ping(slot, out);
  }
}

void Hub::State::on_ping(ClientSlot slot, Actions& out) {
  Bytes pong = R"({"type":"pong"})";
  // Where the host may sleep, it answers most pings itself: all pongs are alike.
  if (clients.has_session(slot) && config.has_heartbeats()) {
    TextArena& text = out.text();
    pong = text.write({R"({"type":"pong","at":)", Digits(position()), "}"}).finish();
  }
  emit_to(clients[slot].id, pong, out);
}

void Hub::State::on_subscribe(ClientSlot slot, const Message& message, Actions& out) {
  if (engine.is_on() && !await_claim(slot, message.token, false, out)) return;
  const TokenId id = tokens.find(message.token);
  if (!may_use(id, slot)) return refuse(slot, Blame::client, invalid_token, ErrorCode::token, out);
  if (!await_confirmation(id, out)) return;
  const Token& token = tokens[id];
  if (token.state() == TokenState::free &&
      clients[slot].tokens.size() >= config.tokens_per_client_max) {
    return refuse(slot, Blame::client,
                  "token limit of this connection reached (tokens_per_client_max)",
                  ErrorCode::client_full, out);
  }
  if (engine.is_on()) {
    const TopicId topic = topics.intern(token.topic());
    if (!await_joins({&topic, 1}, out) || !await_history(id, topic, message, out))
      return release_topic(topic);
  }
  const u32 recorded = message.since && !engine.is_on() ? find_recorded(token, message) : none;
  if (token.state() != TokenState::subscribed) {
    const bool was_free = token.state() == TokenState::free;
    if (was_free) hold_token(id, slot);
    const TopicId topic = topics.intern(token.topic());
    join_channel(topic, slot);  // no change if another token of this client is on the topic: one
                                // copy per message
    tokens.subscribe(id, topic);
    if (was_free) {
      emit_taken_token(id, out);
      emit_attach(slot, ClientChange::tokens, {&message.token, 1}, out);
    } else {
      emit_touch_token(id, out);
    }
  }
  TextArena& text = out.text();
  begin_reply(text, "subscribed", message);
  append_channel(text, tokens[id]);
  if (engine.is_on()) return end_subscribe(slot, id, message, out);
  if (clients.has_session(slot)) append_at(text, stamps.position());
  if (message.since) {
    text.write({", \"recovered\": ", recorded != none ? "true" : "false"});
    ++metrics[recorded != none ? Metric::channel_recovered : Metric::channel_not_recovered];
  }
  if (recorded == none) return emit_reply(slot, out);
  u32 count = 0;
  const u32 first = history.first(recorded, *message.since);
  for (u32 at = first; at != none; at = history.next(at)) ++count;
  text.write({", \"missed\": ", Digits(count)});
  emit_reply(slot, out);
  for (u32 at = first; at != none; at = history.next(at))
    emit_to(clients[slot].id, history.text(at), out);
}

/// Ends the reply under construction, and sends what the client has missed.
void Hub::State::end_subscribe(ClientSlot slot, TokenId id, const Message& message, Actions& out) {
  TextArena& text = out.text();
  const Token& token = tokens[id];
  const Findings* found = findings();
  const bool is_recovered =
      found != nullptr && found->is_recovered &&
      (found->missed.empty() || found->missed.front().at > token.registered_at);
  if (clients.has_session(slot)) {
    const u32 shard = engine.shard_of(is_recovered ? token.topic() : token.key());
    const u64 at =
        is_recovered ? found->at : std::max(token.registered_at, engine.position_of(shard));
    append_at(text, engine.position(shard, at));
    if (message.since) {
      text.write({", \"recovered\": ", is_recovered ? "true" : "false"});
      ++metrics[is_recovered ? Metric::channel_recovered : Metric::channel_not_recovered];
    }
    if (is_recovered) text.write({", \"missed\": ", Digits(found->missed.size())});
  }
  emit_reply(slot, out);
  if (!is_recovered) return;
  for (const Interest::Message& missed_one : found->missed)
    emit_to(clients[slot].id, stamped(missed_one.text, missed_one.at, text), out);
}

void Hub::State::on_unsubscribe(ClientSlot slot, const Message& message, Actions& out) {
  if (engine.is_on() && !await_claim(slot, message.token, false, out)) return;
  const TokenId id = tokens.find(message.token);
  if (!may_use(id, slot)) return refuse(slot, Blame::client, invalid_token, ErrorCode::token, out);
  if (engine.is_on() && !await_erase(id, slot, out)) return;
  TextArena& text = out.text();
  begin_reply(text, "unsubscribed", message);
  append_channel(text, tokens[id]);
  const Bytes reply = text.write({" }"}).finish();
  emit_erase_token(tokens[id].key(), true, out);
  if (is_held(tokens[id].state())) {
    end_subscription(id, slot);
    std::erase(clients[slot].tokens, id);
    emit_attach(slot, ClientChange::tokens_gone, {&message.token, 1}, out);
  }
  forget_token(id);
  emit_to(clients[slot].id, reply, out);
}

void Hub::State::on_send(ClientSlot slot, const Message& message, Actions& out) {
  if (engine.is_on() &&
      !await_claim(slot, message.token, message.again && is_unseen(message), out)) {
    return;
  }
  const TokenId id = tokens.find(message.token);
  if (!may_use(id, slot)) {
    return message.again ? refuse(slot, Blame::sidekick, unknown_outcome, ErrorCode::unknown, out)
                         : refuse(slot, Blame::client, invalid_token, ErrorCode::token, out);
  }
  if (!await_confirmation(id, out)) return;
  Token& token = tokens[id];
  name_channel_topic(topic_name, message.scope);
  if (topic_name != token.topic()) {
    return refuse(slot, Blame::client, "the token was issued for another channel or other params",
                  ErrorCode::scope, out);
  }
  if (token.state() == TokenState::free &&
      clients[slot].tokens.size() >= config.tokens_per_client_max) {
    return refuse(slot, Blame::client,
                  "token limit of this connection reached (tokens_per_client_max)",
                  ErrorCode::client_full, out);
  }

  if (message.id != 0 && on_repeat(id, slot, message, out)) return;

  if (is_shutting_down) {
    return refuse(slot, Blame::sidekick, "Sidekick is shutting down; the message was not forwarded",
                  ErrorCode::stopping, out);
  }

  Forward forward;
  forward.sender = {slot, clients[slot].serial};
  forward.message_id = message.id;
  forward.scope.reserve(token.channel().size() + token.params().size());
  forward.scope.append(token.channel()).append(token.params());
  forward.channel_size = static_cast<u32>(token.channel().size());
  const Bytes body = encode_forward(out.text(), token, message);
  forward.body_bytes = static_cast<u32>(body.size());
  const bool has_to_wait =
      token.lane != none && forwards.lane(token.lane).in_flight >= in_flight_max();
  if (!has_room(slot, token, forward, has_to_wait, out)) return;

  take_if_free(id, slot, out);
  if (message.id != 0) forward.sends = tokens.begin_send(id, message.id);
  if (token.lane == none) token.lane = forwards.open_lane(id);
  if (has_to_wait) {
    forward.body.assign(body);
    forwards.wait(token.lane, std::move(forward));
  } else {
    const ForwardId started =
        forwards.start(token.lane, std::move(forward), now, config.forward_timeout_ms);
    out.add(action::Forward{started, config.forward_timeout_ms, body});
  }
}

/// Returns whether the message fits into the limits of its token and this Sidekick. If not, it is
/// refused.
bool Hub::State::has_room(ClientSlot slot, const Token& token, const Forward& forward,
                          bool has_to_wait, Actions& out) {
  const u64 cost = Forwards::cost_of(forward);
  const bool has_lane = token.lane != none;
  const char* refusal = nullptr;
  ErrorCode code = ErrorCode::queue;
  if (has_to_wait && forwards.lane(token.lane).waiting.size() >= config.forwards_waiting_max) {
    refusal =
        "message queue of this token is full (forwards_waiting_max); the message was not forwarded";
  } else if (has_lane &&
             forwards.lane(token.lane).bytes + cost > config.forward_bytes_per_token_max) {
    refusal =
        "message queue of this token is full (forward_bytes_per_token_max); the message was not "
        "forwarded";
  } else if (forwards.store_bytes() + cost > config.forward_store_bytes_max) {
    refusal =
        "message queue of this Sidekick is full (forward_store_bytes_max); the message was not "
        "forwarded";
    code = ErrorCode::full;
  } else if (forward.message_id != 0 && token.sends() == nullptr &&
             tokens.store_bytes() + Sends::own_bytes > config.token_store_bytes_max) {
    refusal = "token store is full (token_store_bytes_max); the message was not forwarded";
    code = ErrorCode::full;
  }
  if (refusal != nullptr) refuse(slot, Blame::sidekick, refusal, code, out);
  return refusal == nullptr;
}

/// Whether the message's id is above those that this hub knows of its token.
bool Hub::State::is_unseen(const Message& message) const {
  const TokenId id = tokens.find(message.token);
  const Sends* sends = id == none ? nullptr : tokens[id].sends();
  return sends != nullptr && message.id > sends->last_id();
}

/// A message with an id may be forwarded if its id is new, and certainly was not forwarded before.
/// Otherwise answers it, and returns true.
bool Hub::State::on_repeat(TokenId id, ClientSlot slot, const Message& message, Actions& out) {
  const Token& token = tokens[id];
  const u64 session = token.session_hash();
  const bool is_own = session == clients[slot].session_hash;
  const Sends* sends = is_own ? token.sends() : nullptr;
  const bool is_new = sends == nullptr || message.id > sends->last_id();
  if (!message.again) {
    if (is_new) return false;
    refuse(slot, Blame::client, "\"id\" must be above that of the message before", ErrorCode::shape,
           out);
    return true;
  }
  if (is_new && token.is_known_here && (is_own || session == 0)) return false;
  // With an engine, it has just told whether other hubs have had the token meanwhile.
  const bool is_claimed = findings() != nullptr && findings()->claimed == token.key();
  if (is_new && is_claimed && sends != nullptr && !sends->is_outdated()) return false;
  const Sends::Ending* ending = sends == nullptr ? nullptr : sends->find(message.id);
  if (ending != nullptr || (sends != nullptr && sends->is_under_way(message.id))) {
    take_if_free(id, slot, out);
    if (ending == nullptr) {  // end_message answers
      forwards.repeat(token.lane, {sends->serial(), message.id, {slot, clients[slot].serial}});
      return true;
    }
    const input::ForwardDone in{0, ending->status, ending->body, ending->outcome};
    tell_sender(slot, message.id, token.channel(), token.params(), in, out);
    return true;
  }
  refuse(slot, Blame::sidekick, unknown_outcome, ErrorCode::unknown, out);
  return true;
}

void Hub::State::on_listen(ClientSlot slot, const Message& message, Actions& out) {
  if (message.hello) return on_hello(slot, message, out);
  Client& client = clients[slot];
  // Interning is not observable yet: a topic without subscribers is released below.
  topics.begin_marks();
  listened.clear();
  changed.clear();
  looked_up.clear();
  u64 added_bytes = 0;
  u64 added_cost = 0;
  for (const Bytes resource : message.resources) {
    name_resource_topic(topic_name, resource);
    const u64 hash = topics.hash(topic_name);
    const TopicId topic = topics.intern(hash, topic_name);
    if (!topics.mark(topic)) continue;
    if (looks_back(message)) looked_up.push_back({topic, hash, resource});
    if (topics.is_subscribed(topic, client.id)) continue;
    listened.push_back(topic);
    changed.push_back(resource);
    added_bytes += resource.size();
    added_cost += Topics::subscription_cost(topic_name);
  }

  const bool may_go_on =
      has_room_to_listen(slot, added_bytes, added_cost, out) &&
      (!engine.is_on() || (await_joins(listened, out) && await_changed(listened, message, out)));
  if (!may_go_on) {
    for (const TopicId topic : listened) release_topic(topic);
    return;
  }
  const Lookback lookback = look_back(message);

  for (const TopicId topic : listened) {
    topics.subscribe(topic, client.id);
    client.resources.push_back(topic);
  }
  client.resource_bytes += static_cast<u32>(added_bytes);
  if (!changed.empty()) emit_attach(slot, ClientChange::resources, changed, out);
  TextArena& text = out.text();
  begin_reply(text, "listening", message);
  append_resources(text, clients.has_session(slot), message.resources);
  if (clients.has_session(slot)) {
    append_at(text, lookback.at);
    text.write({", \"recovered\": ", lookback.is_recovered ? "true" : "false"});
    if (lookback.is_recovered) ion::append_strings(text.write({", \"changed\": "}), missed);
  }
  emit_reply(slot, out);
  if (message.since)
    ++metrics[lookback.is_recovered ? Metric::resource_recovered : Metric::resource_not_recovered];
  if (lookback.is_recovered) return;
  for (const Bytes resource : missed) emit_to(client.id, encode_updated(out.text(), resource), out);
}

/// Returns whether the topics in `listened` fit into the limits of the client and this Sidekick. If
/// not, the current message is refused.
bool Hub::State::has_room_to_listen(ClientSlot slot, u64 added_bytes, u64 added_cost,
                                    Actions& out) {
  const Client& client = clients[slot];
  const char* refusal = nullptr;
  Blame blame = Blame::client;
  ErrorCode code = ErrorCode::client_full;
  if (client.resources.size() + listened.size() > config.topics_per_client_max) {
    refusal = "number of resources exceeds the limit of this connection (topics_per_client_max)";
  } else if (client.resource_bytes + added_bytes > config.topic_bytes_per_client_max) {
    refusal = "resource names exceed the limit of this connection (topic_bytes_per_client_max)";
  } else if (topics.store_bytes() + added_cost > config.topic_store_bytes_max) {
    refusal = "resource store is full (topic_store_bytes_max); try again later";
    blame = Blame::sidekick;
    code = ErrorCode::full;
  }
  if (refusal != nullptr) refuse(slot, blame, refusal, code, out);
  return refusal == nullptr;
}

/// Finds in `missed` which of the resources in `looked_up` have changed since the position that the
/// message names.
Hub::State::Lookback Hub::State::look_back(const Message& message) {
  missed.clear();
  if (engine.is_on()) return look_back_in_engine(message);
  if (config.listen_lookback_ms != 0) changes.start(stamps.position());
  const bool is_recovered = is_known(message) && *message.since >= changes.floor();
  if (is_recovered || (config.listen_lookback_ms != 0 && !message.since)) {
    const u64 since =
        is_recovered ? *message.since : stamps.position_before(config.listen_lookback_ms);
    for (const LookedUp& it : looked_up)
      if (changes.find(it.hash, it.resource) > since) missed.push_back(it.resource);
  }
  return {is_recovered, stamps.position()};
}

void Hub::State::on_unlisten(ClientSlot slot, const Message& message, Actions& out) {
  remove_resources(clients[slot], message.resources);
  if (!changed.empty()) emit_attach(slot, ClientChange::resources_gone, changed, out);
  TextArena& text = out.text();
  begin_reply(text, "unlistening", message);
  append_resources(text, clients.has_session(slot), message.resources);
  emit_reply(slot, out);
}

/// Leaves in `changed` the names that the client was listening to.
void Hub::State::remove_resources(Client& client, std::span<const Bytes> names) {
  topics.begin_marks();
  changed.clear();
  for (const Bytes name : names) {
    name_resource_topic(topic_name, name);
    const TopicId topic = topics.find(topic_name);
    if (topic == none || !topics.unsubscribe(topic, client.id)) continue;
    topics.mark(topic);
    changed.push_back(name);
    client.resource_bytes -= static_cast<u32>(name.size());
  }
  if (changed.empty()) return;
  std::erase_if(client.resources, [this](TopicId topic) {
    if (!topics.is_marked(topic)) return false;
    release_topic(topic);
    return true;
  });
  shrink_if_sparse(client.resources);
}

/// Rejects the message just decoded.
void Hub::State::refuse(ClientSlot slot, Blame blame, const char* text, ErrorCode code,
                        Actions& out) {
  emit_refusal(slot, blame, decoder.message().scope, text, code, out);
}

/// A token bucket in integers: frames_per_second * elapsed ms is in thousandths of a frame.
bool Hub::State::take_frame_credit(Client& client) {
  if (config.frames_per_second == 0) return true;
  const u64 full = static_cast<u64>(config.frames_burst) * 1000;
  const u64 elapsed_ms = std::min<u64>(now - client.credited_at,
                                       full);  // enough to fill the bucket; keeps the product small
  client.frame_credit = std::min(full, client.frame_credit + elapsed_ms * config.frames_per_second);
  client.credited_at = now;
  if (client.frame_credit < 1000) return false;
  client.frame_credit -= 1000;
  return true;
}

bool Hub::State::may_use(TokenId id, ClientSlot slot) {
  if (id == none) return false;
  const Token& token = tokens[id];
  if (token.state() != TokenState::free) return token.is_held_by(slot);
  return !engine.is_on() || token.claimant == slot;
}

void Hub::State::hold_token(TokenId id, ClientSlot slot) {
  tokens.take(id, slot);
  tokens.set_session(id, clients[slot].session_hash);
  clients[slot].tokens.push_back(id);
}

void Hub::State::take_if_free(TokenId id, ClientSlot slot, Actions& out) {
  if (tokens[id].state() != TokenState::free) return;
  hold_token(id, slot);
  emit_taken_token(id, out);
  const Bytes key = tokens[id].key();
  emit_attach(slot, ClientChange::tokens, {&key, 1}, out);
}

/// Ends delivery to the client unless another of its tokens is on the same topic.
void Hub::State::end_subscription(TokenId id, ClientSlot slot) {
  if (tokens[id].state() != TokenState::subscribed) return;
  const Client& client = clients[slot];
  const TopicId topic = tokens[id].topic_id;
  const bool has_another =
      std::any_of(client.tokens.begin(), client.tokens.end(),
                  [&](TokenId other) { return other != id && tokens[other].topic_id == topic; });
  if (!has_another) leave_channel(topic, slot);
}

/// Erases a token that no client holds any more; its messages are still forwarded.
void Hub::State::forget_token(TokenId id) {
  if (tokens[id].lane != none) forwards.lane(tokens[id].lane).token = none;
  tokens.erase(id);
}

}  // namespace sidekick
