// Emits actions. Nothing here changes the state that a peer can observe.
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

void Hub::State::emit_put_token(TokenId id, Actions& out) {
  const Token& token = tokens[id];
  const Bytes key = out.text().copy(token.key());
  out.add(action::PutToken{static_cast<u32>(token.state()), token.expires_at(), key,
                           encode_token_record(out.text(), token)});
}

void Hub::State::emit_touch_token(TokenId id, Actions& out) {
  const Token& token = tokens[id];
  out.add(action::TouchToken{static_cast<u32>(token.state()), token.expires_at(),
                             out.text().copy(token.key())});
}

void Hub::State::emit_erase_token(Bytes key, Actions& out) {
  out.add(action::EraseToken{out.text().copy(key)});
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
    out.add(action::AttachClient{client.id, 1, line});
    return;
  }
  const Bytes whole = encode_client_record(out.text(), client, tokens, topics);
  client.record_bytes = client.record_whole_bytes = static_cast<u32>(whole.size());
  out.add(action::AttachClient{client.id, 0, whole});
}

/// The ids point into the topic's own table: an input that publishes must not change who is
/// subscribed.
void Hub::State::emit_publish(TopicId topic, Bytes text, Actions& out) {
  const std::vector<u32>& subscribers = topics.subscribers(topic);
  out.add(action::Send{std::span<const u32>(subscribers.data(), subscribers.size()), text});
}

void Hub::State::emit_to(ClientId client, Bytes text, Actions& out) {
  u32* ids = out.text().words(1);
  *ids = client;
  out.add(action::Send{std::span<const u32>(ids, 1), text});
}

void Hub::State::emit_error(ClientId client, Blame blame, Bytes channel, Bytes params,
                            Bytes message, Actions& out) {
  TextArena& text = out.text();
  text.append("{ \"type\": \"error\", \"error\": { \"channel\": ")
      .append(channel)
      .append(", \"params\": ")
      .append(params);
  text.append(", \"fault\": \"").append(name_of(blame)).append("\", \"message\": ");
  ion::append_string(text, message);
  emit_to(client, text.append(" } }").finish(), out);
}

void Hub::State::emit_refusal(ClientSlot slot, Blame blame, const Scope& scope, Bytes message,
                              Actions& out) {
  TextArena& text = out.text();
  if (scope.channel) {
    ion::append_string(text, *scope.channel);
  } else {
    text.append("\"unknown\"");
  }
  const Bytes channel = text.finish();
  // An error must not amplify: a small message must not cause a large reply.
  constexpr std::size_t echoed_bytes_max = 4096;
  append_params(text, scope);
  Bytes params = text.finish();
  if (params.size() > echoed_bytes_max) params = "{}";
  emit_error(clients[slot].id, blame, channel, params, message, out);
}

void Hub::State::emit_respond(RequestId request, u32 status, Bytes body, Actions& out) {
  out.add(action::Respond{request, status, 0, "text/plain; charset=utf-8", "", body});
}

/// One answer with one delay, wherever a secret is required or presented.
void Hub::State::emit_unauthorized(RequestId request, Actions& out) {
  constexpr Bytes body =
      "Unauthorized: expected \"Authorization: Bearer <secret>\" with this Sidekick's secret";
  out.add(action::Respond{request, 401, config.auth_failure_delay_ms, "text/plain; charset=utf-8",
                          "WWW-Authenticate: Bearer", body});
}

}  // namespace sidekick
