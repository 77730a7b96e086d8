// After a restart or a wake the host hands back every record, tokens first, then clients. The first other input ends the restore: what
// was held by a client that did not come back with it (a reset closes sockets unseen) is free again for the resume window.
#include "state.hpp"

namespace sidekick {

void Hub::State::on_restore_token(const input::RestoreToken& in, Actions& out) {
  TokenRecord record;
  const bool is_ours = decode_token_record(in.record, out.text(), record);
  if (!is_ours) return emit_erase_token(in.key, out);  // damaged: the client will have to ask for another token
  if (tokens.find(in.key) != none) return;
  name_channel_topic(topic_name, record.scope);
  const TokenId id = tokens.add(in.key, record.scope, topic_name, record.context, record.expires_at);
  tokens[id].restored_as = record.state;
  if (record.state != TokenState::free) unclaimed.push_back(id);
}

void Hub::State::on_restore_client(const input::RestoreClient& in, Actions& out) {
  const ClientSlot slot = clients.open(in.client);
  Client& client = clients[slot];
  client.frame_credit = static_cast<u64>(config.frames_burst) * 1000;
  client.credited_at = now;
  ClientRecord record;
  if (!decode_client_record(in.record, out.text(), record)) return;  // never wrote one, or damaged: open, and nothing more
  for (const Bytes key : record.tokens) {
    const TokenId id = tokens.find(key);
    if (id == none || tokens[id].restored_as == TokenState::free || tokens[id].state() != TokenState::free) continue;
    take_token(id, slot);
    if (tokens[id].restored_as == TokenState::subscribed) {
      const TopicId topic = topics.intern(tokens[id].topic());
      topics.subscribe(topic, client.id);
      tokens.subscribe(id, topic);
    }
  }
  for (const Bytes resource : record.resources) {
    name_resource_topic(topic_name, resource);
    const TopicId topic = topics.intern(topic_name);
    if (!topics.subscribe(topic, client.id)) continue;
    client.resources.push_back(topic);
    client.resource_bytes += static_cast<u32>(resource.size());
  }
}

void Hub::State::settle_restored(Actions& out) {
  for (const TokenId id : unclaimed) {
    tokens[id].restored_as = TokenState::free;
    if (tokens[id].state() != TokenState::free) continue;
    if (config.token_resume_ms == 0) {
      emit_erase_token(tokens[id].key(), out);
      forget_token(id);
    } else {
      tokens.renew(id, now + config.token_resume_ms);
      emit_put_token(id, out);
    }
  }
  unclaimed.clear();
}

}  // namespace sidekick
