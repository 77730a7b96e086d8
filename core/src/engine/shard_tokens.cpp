// Tokens and their holders. An expired token is the same as one that is not stored.
#include "engine/shard_state.hpp"
#include "sidekick/text.hpp"

namespace sidekick::engine {

namespace {

u64 size_of(const std::optional<std::string>& text) { return text ? text->size() : 0; }

}  // namespace

void Shard::State::run_register(Args args, Values& values) {
  const Bytes name = args[0], record = args[1], ttl_ms = args[2];
  const ShardData::Token& known = token(data.tokens.find(name));
  if (known.session && is_alive(*known.node)) {  // an erased token has no session
    publish_to_inbox(*known.node, compose({"asked ", *known.session, " ", name}));
    values = {"held"};
    return;
  }
  const u32 id = replace_token(name);
  data.tokens[id].record = record;
  data.tokens[id].registered = data.at;
  expire_token(id, ttl_ms);
  values = {"ok"};
}

void Shard::State::run_claim(Args args, Values& values) {
  const Bytes name = args[0], node = args[1], session = args[2], keep_ms = args[3];
  const u32 id = data.tokens.find(name);
  const ShardData::Token known = token(id);
  if (!known.record) {
    values = {"none"};
    return;
  }
  const bool is_same = known.node == node && known.session == session;
  if (known.node && known.node != node) {
    const bool is_refused = known.session != session && is_alive(*known.node);
    publish_to_inbox(*known.node,
                     compose({is_refused ? "asked " : "taken ", *known.session, " ", name}));
    if (is_refused) {
      values = {"held"};
      return;
    }
  }
  data.tokens[id].node = node;
  data.tokens[id].session = session;
  expire_token(id, keep_ms);
  values = {"ok", *known.record, std::string(Digits(known.registered)),
            std::string(Digits(data.at)), is_same ? "1" : "0"};
}

void Shard::State::run_release(Args args, Values&) {
  const Bytes node = args[0], resume_ms = args[1];
  for (std::size_t i = 2; i < args.size(); i += 2) {
    const u32 id = data.tokens.find(args[i]);
    if (token(id).node != node || token(id).session != args[i + 1]) continue;
    data.tokens[id].node.reset();
    data.tokens[id].session.reset();
    expire_token(id, resume_ms);
  }
}

void Shard::State::run_erase(Args args, Values& values) {
  const Bytes name = args[0], node = args[1], session = args[2], keep_ms = args[3];
  const ShardData::Token& known = token(data.tokens.find(name));
  const bool is_held = known.node && known.node != erased_node;
  if (is_held && (known.node != node || known.session != session)) {
    values = {"held"};
    return;
  }
  const u32 id = replace_token(name);
  data.tokens[id].node = erased_node;  // a tombstone: no reclaim brings the token back
  expire_token(id, keep_ms);
  values = {"ok"};
}

void Shard::State::run_reclaim(Args args, Values& values) {
  const Bytes node = args[0], keep_ms = args[1];
  for (std::size_t i = 2; i < args.size(); i += 3) {
    const Bytes name = args[i], session = args[i + 1], record = args[i + 2];
    const ShardData::Token known = token(data.tokens.find(name));
    const bool is_elsewhere = known.node && known.node != node && is_alive(*known.node);
    if (known.node == erased_node || is_elsewhere) {
      values.emplace_back(known.session == session ? "2" : "1");
      continue;
    }
    if (!known.record && record.empty()) {
      values.emplace_back("3");
      continue;
    }
    const u32 id = data.tokens.intern(name);
    if (!known.record) {
      data.tokens[id].record = record;
      data.tokens[id].registered = data.at;
    }
    data.tokens[id].node = node;
    data.tokens[id].session = session;
    expire_token(id, keep_ms);
    const bool is_mine = known.record && known.node == node && known.session == session;
    values.emplace_back(is_mine ? "0" : "4");
  }
}

const ShardData::Token& Shard::State::token(u32 id) const {
  static const ShardData::Token not_stored;
  return id == none ? not_stored : data.tokens[id];
}

/// Stores an empty token in its place.
u32 Shard::State::replace_token(Bytes name) {
  const u32 id = data.tokens.intern(name);
  data.tokens[id] = {};
  return id;
}

/// The last step of each change of a token. 0 removes the token.
void Shard::State::expire_token(u32 id, Bytes span_ms) {
  if (span_ms == "0") return remove_token(id);
  const Millis expires_at = now_ms() + number_of(span_ms);
  keep_token(id, expires_at);
  const ShardData::Token& it = data.tokens[id];
  rows.put_token(data.tokens.slots()[id].name,
                 {it.record, it.node, it.session, it.registered, expires_at});
}

void Shard::State::keep_token(u32 id, Millis expires_at) {
  const ShardData::Token& it = data.tokens[id];
  const u64 text_bytes = size_of(it.record) + size_of(it.node) + size_of(it.session);
  data.tokens.set_bytes(id, data.tokens.slots()[id].name.size() + text_bytes + 256);
  data.tokens.expire_at(id, expires_at);
}

void Shard::State::remove_token(u32 id) {
  rows.erase_token(data.tokens.slots()[id].name);
  data.tokens.remove(id);
}

}  // namespace sidekick::engine
