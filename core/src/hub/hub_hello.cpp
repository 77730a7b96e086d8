// Clients that say hello: docs/protocol.md, "Clients that say hello". Such a client names its
// session, and a new connection of a session takes over from the old one, which may be half-open
// and unnoticed.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

void Hub::State::on_hello(ClientSlot slot, const Message& message, Actions& out) {
  const Client& client = clients[slot];
  if (clients.has_session(slot) || !client.tokens.empty() || !client.resources.empty()) {
    return refuse(slot, Blame::client,
                  "\"hello\" comes too late: this connection has a session, token or resource",
                  ErrorCode::shape, out);
  }
  for (u32 i = 0; i < engine.shard_count(); ++i) {
    const Shard& shard = engine.shard(i);
    const bool is_known = !shard.epoch.empty() && (shard.is_synced || !shard.is_up);
    if (!is_known && !await_ready(i, out)) return;
  }
  const ClientSlot old = clients.find_session(*message.hello);
  settle_change_log();
  changes.start(stamps.position());
  clients.greet(slot, *message.hello);
  if (old != none) take_over(old, slot, out);
  emit_attach_whole(slot, true, out);

  TextArena& text = out.text();
  text.write({"{ \"type\": \"listening\""});
  append_id(text, message.id);
  text.write({", \"resources\": [], \"welcome\": { \"version\": 1, \"epoch\": \""});
  if (engine.is_on()) {
    text.append(engine.epoch());
  } else {
    append_epoch(text, stamps.epoch());
  }
  append_at(text.write({"\""}), position());
  text.write({", \"spread_ms\": ", Digits(spread_ms()),
              ", \"frame_bytes_max\": ", Digits(config.frame_bytes_max),
              config.has_heartbeats() ? " }" : ", \"pong_at\": false }"});
  emit_reply(slot, out);
}

/// The tokens change hands as they are: no row changes, and no other client can take one.
void Hub::State::take_over(ClientSlot from, ClientSlot to, Actions& out) {
  clients[to].tokens = std::move(clients[from].tokens);
  clients[from].tokens.clear();
  for (const TokenId id : clients[to].tokens) {
    tokens.pass(id, to);
    const TopicId topic = tokens[id].topic_id;
    if (topic == none) continue;
    join_channel(topic, to);
    leave_channel(topic, from);
  }
  emit_close(from, 4000, ErrorCode::taken_over, "taken over by a new connection of this session",
             out);
}

/// Positions of the epoch before mean nothing any more. A client that said hello keeps its socket
/// through a restart, so its record has to know. No client is told, so no answer waits for it.
void Hub::State::record_epoch(Actions& out) {
  stamps.set_recorded();
  for (ClientSlot slot = 0; slot < clients.slots().size(); ++slot) {
    if (clients.has_session(slot)) emit_attach_whole(slot, false, out);
  }
}

void Hub::State::join_channel(TopicId topic, ClientSlot slot) {
  const bool has_session = clients.has_session(slot);
  topics.subscribe(topic, clients[slot].id, has_session);
  const std::string& name = topics.name(topic);
  if (has_session && !engine.is_on()) history.join(topics.hash(name), name, stamps.position());
}

/// No change if the client has left it with another token.
void Hub::State::leave_channel(TopicId topic, ClientSlot slot) {
  const bool has_session = clients.has_session(slot);
  if (!topics.unsubscribe(topic, clients[slot].id, has_session)) return;
  const std::string& name = topics.name(topic);
  if (has_session && !engine.is_on() && topics.hello_subscribers(topic).empty()) {
    history.expire(stamps.position_before(config.history_ms));
    history.leave(topics.hash(name), name, stamps.position());
  }
  release_topic(topic);
}

/// Ends the message under construction with its stamp, for the subscribers that said hello and for
/// those that come back.
void Hub::State::publish_stamped(TopicId topic, u32 recorded, Actions& out) {
  const u64 at = stamps.take();
  append_at(out.text(), at);
  const Bytes stamped = out.text().append(" }").finish();
  if (topic != none) emit_publish(topics.hello_subscribers(topic), stamped, out);
  history.add(recorded, at, stamped);
}

/// Returns the record that has all messages of the token's channel above the position, or `none`:
/// the others would hide that some are missing. A token never recovers what is older than itself,
/// or a new member would read it.
u32 Hub::State::find_recorded(const Token& token, const Message& message) {
  const u64 oldest = stamps.position_before(config.history_ms);
  history.expire(oldest);
  if (!is_known(message) || *message.since < std::max(oldest, token.registered_at)) return none;
  const u32 recorded = history.find(topics.hash(token.topic()), token.topic());
  return recorded != none && *message.since >= history.floor(recorded) ? recorded : none;
}

/// Ends the change log when its time has come, and returns whether there is one. No timer does
/// that: it would wake a sleeping host.
bool Hub::State::settle_change_log() {
  if (!changes.is_on()) return false;
  const bool is_needed = clients.session_count() != 0 || config.listen_lookback_ms != 0 ||
                         now - sessions_left_at < config.change_log_ms;
  if (!is_needed) changes.stop();
  return is_needed;
}

/// Whether the message's position is one that this hub may have told.
bool Hub::State::is_known(const Message& message) const {
  Epoch epoch;
  return message.since && decode_epoch(message.epoch, epoch) &&
         stamps.is_known(epoch, *message.since);
}

/// The time over which clients spread their queries after a loss of state.
u32 Hub::State::spread_ms() const { return std::clamp<u32>(2 * clients.count(), 1000, 60000); }

}  // namespace sidekick
