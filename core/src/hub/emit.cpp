// Emits actions. Nothing here changes the state that a peer can observe.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

Bytes name_of(Blame blame) {
  switch (blame) {
    case Blame::client:
      return "client";
    case Blame::server:
      return "server";
    case Blame::sidekick:
      return "sidekick";
  }
  trap();
}

}  // namespace

Bytes encode_updated(TextArena& out, Bytes resource) {
  out.append("{ \"type\": \"updated\", \"resource\": ");
  ion::append_string(out, resource);
  return out.append(" }").finish();
}

void append_channel_message(TextArena& out, const Message& message) {
  out.append(channel_message_start);
  ion::append_string(out, *message.scope.channel);
  out.append(", \"params\": ");
  append_params(out, message.scope);
  if (message.data) out.append(", \"data\": ").append(*message.data);
}

void Hub::State::emit(const action::Send& it, Actions& out) {
  metrics[Metric::frames_replied] += it.clients.size();
  metrics[Metric::frames_sent_bytes] += it.clients.size() * it.text.size();
  metrics.count_error(it.code);
  out.add(it);
}

void Hub::State::emit(const action::Respond& it, Actions& out) {
  metrics.count_response(it);
  out.add(it);
}

void Hub::State::emit(const action::Close& it, Actions& out) {
  ++metrics[Metric::clients_closed_by_hub];
  metrics.count_error(it.why);
  out.add(it);
}

void Hub::State::emit_put_token(TokenId id, Actions& out) {
  const Token& token = tokens[id];
  const Bytes key = out.text().copy(token.key());
  // Only the positions of a gateway's engine outlive the hub.
  const u64 registered_at = config.has_heartbeats() ? 0 : token.registered_at;
  out.add(action::PutToken{stored_state(token.state()), token.expires_at(), key,
                           encode_token_record(out.text(), token, registered_at), 1});
}

/// A client has taken the token. With an engine, it may not be stored yet.
void Hub::State::emit_taken_token(TokenId id, Actions& out) {
  if (engine.is_on())
    emit_put_token(id, out);
  else
    emit_touch_token(id, out);
}

void Hub::State::emit_touch_token(TokenId id, Actions& out) {
  const Token& token = tokens[id];
  out.add(action::TouchToken{stored_state(token.state()), token.expires_at(),
                             out.text().copy(token.key()), is_held(token.state())});
}

void Hub::State::emit_erase_token(Bytes key, bool is_told, Actions& out) {
  out.add(action::EraseToken{out.text().copy(key), is_told});
}

/// A change is appended to the stored record, so that its cost does not depend on the size of the
/// record. When the changes outgrow half of the last full version plus 1 KiB, the record is
/// rewritten in full. This bounds its size and the amortized cost of keeping it.
void Hub::State::emit_attach(ClientSlot slot, ClientChange change, std::span<const Bytes> names,
                             Actions& out) {
  constexpr u32 changes_bytes_min = 1024;
  Client& client = clients[slot];
  const Bytes line = encode_client_change(out.text(), change, names);
  const u64 changes_bytes = client.record_bytes - client.record_whole_bytes + line.size();
  if (client.record_bytes != 0 &&
      changes_bytes <= client.record_whole_bytes / 2 + changes_bytes_min) {
    client.record_bytes += static_cast<u32>(line.size());
    out.add(action::AttachClient{client.id, 1, line, 1});
    return;
  }
  emit_attach_whole(slot, true, out);
}

void Hub::State::emit_attach_whole(ClientSlot slot, bool is_durable, Actions& out) {
  Client& client = clients[slot];
  const Bytes whole = encode_client_record(out.text(), client, tokens, topics, stamps.epoch());
  client.record_bytes = client.record_whole_bytes = static_cast<u32>(whole.size());
  out.add(action::AttachClient{client.id, 0, whole, is_durable ? 1u : 0u});
}

/// Closes a socket for the hub, which forgets the client at once.
void Hub::State::emit_close(ClientSlot slot, u32 status, ErrorCode why, Bytes reason,
                            Actions& out) {
  const ClientId client = clients[slot].id;
  drop_client(slot, out);
  // Its tokens may belong to another client before its socket is gone.
  out.add(action::AttachClient{client, 0, "", 0});
  emit(action::Close{client, status, reason, why}, out);
}

/// The ids point into the topic's own table: without an engine, an input that publishes does not
/// change who is subscribed. With one, the same input may run frames that have waited.
void Hub::State::emit_publish(const std::vector<u32>& subscribers, Bytes text, Actions& out) {
  if (subscribers.empty()) return;
  metrics[Metric::frames_published] += subscribers.size();
  metrics[Metric::frames_sent_bytes] += subscribers.size() * text.size();
  std::span<const u32> ids = subscribers;
  if (engine.is_on()) {
    u32* const copy = out.text().words(static_cast<u32>(ids.size()));
    std::copy(ids.begin(), ids.end(), copy);
    ids = {copy, ids.size()};
  }
  out.add(action::Send{ids, text, ErrorCode::ok});  // counted above
}

void Hub::State::emit_to(ClientId client, Bytes text, Actions& out, ErrorCode code) {
  u32* ids = out.text().words(1);
  *ids = client;
  emit(action::Send{std::span<const u32>(ids, 1), text, code}, out);
}

/// Ends the object under construction, and sends it.
void Hub::State::emit_reply(ClientSlot slot, Actions& out, ErrorCode code) {
  emit_to(clients[slot].id, out.text().write({" }"}).finish(), out, code);
}

/// id: of the client's message; 0: none. Only clients that said hello are told id and code, or say
/// it with this message.
void Hub::State::emit_error(ClientSlot slot, u64 id, Blame blame, Bytes channel, Bytes params,
                            Bytes message, ErrorCode code, Actions& out, bool says_hello) {
  TextArena& text = out.text();
  text.write({"{ \"type\": \"error\", \"error\": { \"channel\": ", channel,
              ", \"params\": ", params, ", \"fault\": \"", name_of(blame), "\", \"message\": "});
  ion::append_string(text, message);
  text.write({" }"});
  if (says_hello || clients.has_session(slot)) {
    append_id(text, id);
    text.write({", \"code\": \"", name_of(code), "\""});
  }
  emit_reply(slot, out, code);
}

void Hub::State::emit_refusal(ClientSlot slot, Blame blame, const Scope& scope, Bytes message,
                              ErrorCode code, Actions& out) {
  TextArena& text = out.text();
  if (scope.channel) {
    ion::append_string(text, *scope.channel);
  } else {
    text.write({"\"unknown\""});
  }
  const Bytes channel = text.finish();
  // An error must not amplify: a small message must not cause a large reply.
  constexpr std::size_t echoed_bytes_max = 4096;
  append_params(text, scope);
  Bytes params = text.finish();
  if (params.size() > echoed_bytes_max) params = "{}";
  emit_error(slot, decoder.message().id, blame, channel, params, message, code, out);
}

void Hub::State::emit_respond(RequestId request, u32 status, ErrorCode code, Bytes body,
                              Actions& out, Bytes header) {
  emit(action::Respond{request, status, 0, "text/plain; charset=utf-8", header, body, code}, out);
}

/// One answer with one delay, wherever a secret is required or presented.
void Hub::State::emit_unauthorized(RequestId request, const Refusal& refusal, Actions& out) {
  emit(action::Respond{request, refusal.status, config.auth_failure_delay_ms,
                       "text/plain; charset=utf-8", refusal.header, refusal.text, refusal.code},
       out);
}

}  // namespace sidekick
