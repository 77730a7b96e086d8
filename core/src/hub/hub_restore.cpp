// Storage: after a restart or a wake the host passes all stored records back, tokens first, then
// clients, then `restored` (in traces of format 1: any other input). Then a token whose client did
// not come back (a reset closes sockets without a close event) is free again for the resume window.
// And what happens if a record could not be stored.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

void Hub::State::on_restore_token(const input::RestoreToken& in, Actions& out) {
  TokenRecord record;
  static constexpr TokenEvent events[] = {TokenEvent::add, TokenEvent::add_held,
                                          TokenEvent::add_subscribed};
  const bool is_ours =
      in.state < std::size(events) && decode_token_record(in.record, out.text(), record);
  if (!is_ours)
    return emit_erase_token(in.key, false,
                            out);  // damaged: the client has to request another token
  if (tokens.find(in.key) != none) return;
  name_channel_topic(topic_name, record.scope);
  const TokenId id = tokens.add(Tokens::draft(in.key, record.scope, topic_name, record.context),
                                in.expires_at, events[in.state]);
  if (!config.has_heartbeats()) tokens[id].registered_at = record.registered_at;
  if (is_away(tokens[id].state())) unclaimed.push_back(id);
}

void Hub::State::on_restore_client(const input::RestoreClient& in, Actions& out) {
  const ClientSlot slot = clients.open(in.client);
  Client& client = clients[slot];
  client.frame_credit = static_cast<u64>(config.frames_burst) * 1000;
  client.credited_at = now;

  // A token's state is known only after the last line: one that was released may belong to another
  // client by now.
  std::vector<Bytes> held;
  client.record_whole_bytes = static_cast<u32>(in.record.substr(0, in.record.find('\n')).size());
  client.record_bytes = static_cast<u32>(in.record.size());
  for (std::size_t at = 0; at < in.record.size();) {
    const std::size_t end = std::min(in.record.find('\n', at), in.record.size());
    ClientLine line;
    if (!decode_client_line(in.record.substr(at, end - at), out.text(), line)) {
      client.record_bytes = client.record_whole_bytes =
          0;  // damaged: what was read applies, and the next change rewrites the record
      break;
    }
    if (!line.session.empty() && !clients.has_session(slot)) clients.greet(slot, line.session);
    Epoch epoch;
    if (decode_epoch(line.epoch, epoch)) stamps.restore(epoch);
    if (clients.has_session(slot)) changes.start(stamps.position());
    held.insert(held.end(), line[ClientChange::tokens].begin(), line[ClientChange::tokens].end());
    for (const Bytes key : line[ClientChange::tokens_gone]) std::erase(held, key);
    for (const Bytes resource : line[ClientChange::resources]) {
      name_resource_topic(topic_name, resource);
      const TopicId topic = topics.intern(topic_name);
      if (!topics.subscribe(topic, client.id)) continue;
      if (engine.is_on()) engine.want(topic, topic_name);
      client.resources.push_back(topic);
      client.resource_bytes += static_cast<u32>(resource.size());
    }
    remove_resources(client, line[ClientChange::resources_gone]);
    at = end + 1;
  }
  for (const Bytes key : held) {
    const TokenId id = tokens.find(key);
    if (id == none || !is_away(tokens[id].state())) continue;
    tokens.claim(id, slot);
    tokens.set_session(id, client.session_hash);
    client.tokens.push_back(id);
    if (tokens[id].state() == TokenState::subscribed) {
      const TopicId topic = topics.intern(tokens[id].topic());
      join_channel(topic, slot);
      if (engine.is_on()) engine.want(topic, topics.name(topic));
      tokens.set_topic(id, topic);
    }
  }
}

void Hub::State::settle_restored(Actions& out) {
  for (const TokenId id : unclaimed) {
    if (!is_away(tokens[id].state())) continue;
    if (!config.has_heartbeats()) {
      hand_over(id, now + config.token_resume_ms);
    } else if (config.token_resume_ms == 0 || engine.is_on()) {
      emit_erase_token(tokens[id].key(), false, out);
      forget_token(id);
    } else {
      tokens.release(id, now + config.token_resume_ms);
      emit_touch_token(id, out);
    }
  }
  unclaimed.clear();
}

/// Nothing that was not stored may be confirmed: its sender is told. The hub forgets the token, and
/// so does the storage as soon as it can. Until then a restore may find what was there before.
void Hub::State::on_not_stored(const input::NotStored& in, Actions& out) {
  ClientSlot slot = clients.find(in.client);
  const TokenId token = in.key.empty() ? none : tokens.find(in.key);
  // With an engine, a client takes a token when the engine answers, which is no input of a client.
  // It is closed below and lets the token go, so that others can have it.
  const bool is_taken = engine.is_on() && token != none && is_held(tokens[token].state());
  if (is_taken && slot == none) slot = tokens[token].holder();
  const bool is_let_go = is_taken && tokens[token].is_held_by(slot);
  if (token != none && !is_let_go) {
    if (is_held(tokens[token].state())) {
      const ClientSlot holder = tokens[token].holder();
      end_subscription(token, holder);
      std::erase(clients[holder].tokens, token);
    }
    forget_token(token);
  }
  if (!in.key.empty() && !is_let_go) emit_erase_token(in.key, false, out);
  if (in.request != 0) {
    emit_respond(in.request, 503, ErrorCode::storage,
                 "Service Unavailable: storage failed; see the log of the Sidekick", out);
  }
  if (slot != none) {
    emit_close(slot, 1011, ErrorCode::storage, "internal error: storage failed", out);
  }
}

}  // namespace sidekick
