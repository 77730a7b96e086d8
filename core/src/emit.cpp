// Describes consequences. Nothing here changes state.
#include "ion/writer.hpp"
#include "state.hpp"

namespace sidekick {

namespace {

Bytes name_of(Blame blame) {
  switch (blame) {
    case Blame::client: return "client";
    case Blame::server: return "server";
    case Blame::sidekick: return "sidekick";
  }
  trap();
}

}  // namespace

void Hub::State::emit_put_token(TokenId id, Actions& out) {
  const Bytes key = out.text().copy(tokens[id].key());
  out.add(action::PutToken{key, encode_token_record(out.text(), tokens[id])});
}

void Hub::State::emit_erase_token(Bytes key, Actions& out) { out.add(action::EraseToken{out.text().copy(key)}); }

void Hub::State::emit_attach(ClientSlot slot, Actions& out) {
  const Client& client = clients[slot];
  out.add(action::AttachClient{client.id, encode_client_record(out.text(), client, tokens, topics)});
}

/// The ids point into the topic's own table: an input that publishes must not change who is subscribed.
void Hub::State::emit_publish(TopicId topic, Bytes text, Actions& out) {
  const std::vector<u32>& subscribers = topics.subscribers(topic);
  out.add(action::Send{std::span<const u32>(subscribers.data(), subscribers.size()), text});
}

void Hub::State::emit_to(ClientId client, Bytes text, Actions& out) {
  u32* ids = out.text().words(1);
  *ids = client;
  out.add(action::Send{std::span<const u32>(ids, 1), text});
}

void Hub::State::emit_error(ClientId client, Blame blame, Bytes channel, Bytes params, Bytes message, Actions& out) {
  TextArena& text = out.text();
  text.append("{ \"type\": \"error\", \"error\": { \"channel\": ").append(channel).append(", \"params\": ").append(params);
  text.append(", \"fault\": \"").append(name_of(blame)).append("\", \"message\": ");
  ion::append_string(text, message);
  emit_to(client, text.append(" } }").finish(), out);
}

void Hub::State::emit_refusal(ClientSlot slot, Blame blame, const Scope& scope, Bytes message, Actions& out) {
  TextArena& text = out.text();
  if (scope.channel) {
    ion::append_string(text, *scope.channel);
  } else {
    text.append("\"unknown\"");
  }
  const Bytes channel = text.finish();
  append_params(text, scope);
  const Bytes params = text.finish();
  emit_error(clients[slot].id, blame, channel, params, message, out);
}

void Hub::State::emit_respond(RequestId request, u32 status, Bytes body, Actions& out) {
  out.add(action::Respond{request, status, 0, "text/plain; charset=utf-8", "", body});
}

}  // namespace sidekick
