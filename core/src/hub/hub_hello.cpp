// Clients that say hello: docs/protocol.md, "Clients that come back". Such a client names its
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
  const ClientSlot old = clients.find_session(*message.hello);
  clients.greet(slot, *message.hello);
  if (old != none) take_over(old, slot, out);
  emit_attach_whole(slot, true, out);

  TextArena& text = out.text();
  text.write({"{ \"type\": \"listening\""});
  append_id(text, message.id);
  text.write({", \"resources\": [], \"welcome\": { \"version\": 1, \"epoch\": \""});
  append_epoch(text, stamps.epoch());
  append_at(text.write({"\""}), stamps.position());
  text.write({", \"spread_ms\": ", Digits(spread_ms()),
              ", \"frame_bytes_max\": ", Digits(config.frame_bytes_max), " } }"});
  emit_to(client.id, text.finish(), out);
}

/// The tokens change hands as they are: no row changes, and no other client can take one.
void Hub::State::take_over(ClientSlot from, ClientSlot to, Actions& out) {
  clients[to].tokens = std::move(clients[from].tokens);
  clients[from].tokens.clear();
  for (const TokenId id : clients[to].tokens) {
    tokens.pass(id, to);
    const TopicId topic = tokens[id].topic_id;
    if (topic == none) continue;
    topics.subscribe(topic, clients[to].id);
    topics.unsubscribe(topic, clients[from].id);
  }
  emit_close(from, 4000, ErrorCode::taken_over, "taken over by a new connection of this session",
             out);
}

/// Positions of the epoch before mean nothing any more. A client that said hello keeps its socket
/// through a restart, so its record has to know. No client is told, so no answer waits for it.
void Hub::State::on_clock_step(Actions& out) {
  for (ClientSlot slot = 0; slot < clients.slots().size(); ++slot) {
    if (clients.has_session(slot)) emit_attach_whole(slot, false, out);
  }
}

/// The time over which clients spread their queries after a loss of state.
u32 Hub::State::spread_ms() const { return std::clamp<u32>(2 * clients.count(), 1000, 60000); }

}  // namespace sidekick
