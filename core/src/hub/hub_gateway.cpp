// Gateways: hubs of a host that may sleep, in front of an engine that never loses its history
// (engine_epoch). There are no heartbeats, which would keep every host awake. A wake needs no call:
// sockets and joins still exist.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr Millis clocks_differ_ms_max = 1000;
constexpr u32 handing_max = 64;

}  // namespace

/// All later stamps of a shard are above this.
void Hub::State::pass_time() {
  const Millis passed = std::min(now, number_max / 1000);
  engine.pass((passed - std::min(passed, clocks_differ_ms_max)) * 1000);
}

/// The host has slept, and this hub has missed nothing: all its topics are still joined. Its
/// position is not known. So if it misses something from now on, it tells all listeners.
void Hub::State::resume(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  shard.is_synced = true;
  shard.is_resyncing = false;
  shard.epoch = config.engine_epoch;
  for (u32 id = 0; id < engine.interests().size(); ++id) {
    Interest& it = engine.interest(id);
    if (it.topic != none && it.shard == index) it.state = Interest::State::joined;
  }
  shard.reclaim_deadline = deadlines.add({next_reclaim(), Due::reclaim, index, index});
  flush_releases(index, out);
  hand_over_next(index, out);
  run_blocked(out);
}

/// A wake for another reason must not move this time, or it would never come.
Millis Hub::State::next_reclaim() const {
  const Millis every = config.engine_keep_ms / 3;
  if (config.has_heartbeats()) return now + every;
  const Millis phase = hash_bytes(0, config.node) % every;  // not all hubs at once
  return now + every - (now + phase) % every;
}

/// The shard has forgotten which topics this hub has joined, and sends the messages of all topics.
/// One join of all topics replaces the topics that it knows, including those of earlier joins that
/// are still under way.
void Hub::State::tell_joins(u32 index, Actions& out) {
  if (!engine.shard(index).is_ready()) return;
  std::vector<Bytes> joined;
  for (const Interest& it : engine.interests()) {
    if (it.topic != none && it.shard == index && it.state != Interest::State::wanted)
      joined.push_back(out.text().copy(topics.name(it.topic)));
  }
  metrics.count_call(Purpose::join);
  const u32 number = engine.begin_call(Call(Purpose::join, index)).number;
  out.add(action::EngineJoin{number, index, out.list(joined)});
}

/// With an engine, a hub has only the tokens that its own clients hold.
void Hub::State::hand_over_free_tokens() {
  for (TokenId id = 0; id < tokens.slots().size(); ++id)
    if (tokens[id].state() == TokenState::free) hand_over(id, tokens[id].expires_at());
}

/// No client of this hub has the token: it was registered before there was an engine, or the engine
/// knows its holder. Its row stays until the engine has answered.
void Hub::State::hand_over(TokenId id, Millis expires_at) {
  TextArena text;
  const Token& token = tokens[id];
  engine.shard(engine.shard_of(token.key()))
      .handed.push_back(
          {std::string(token.key()), std::string(encode_token_record(text, token)), expires_at});
  forget_token(id);
}

void Hub::State::hand_over_next(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  while (shard.is_ready() && shard.handing < handing_max && !shard.handed.empty())
    hand_over_last(shard, index, out);
}

/// Before this hub asks the engine for the token, which would not know it.
void Hub::State::hand_over_first(u32 index, Bytes key, Actions& out) {
  auto& handed = engine.shard(index).handed;
  const auto it = std::find_if(handed.begin(), handed.end(),
                               [&](const HandedToken& one) { return one.token == key; });
  if (it == handed.end()) return;
  std::swap(*it, handed.back());
  hand_over_last(engine.shard(index), index, out);
}

void Hub::State::hand_over_last(Shard& shard, u32 index, Actions& out) {
  Call call(Purpose::hand_over, index);
  call.handed = std::move(shard.handed.back());
  shard.handed.pop_back();
  call.token = call.handed.token;
  if (tokens.find(call.token) != none) return;
  if (call.handed.expires_at <= now) return emit_erase_token(call.token, false, out);
  TextArena& text = out.text();
  const Bytes args[] = {text.copy(call.token), text.copy(call.handed.record),
                        text.write({Digits(call.handed.expires_at - now)}).finish()};
  ++shard.handing;
  call_script(std::move(call), "register", args, out);
}

/// Held: the engine knows the token, so it was not registered before there was an engine.
void Hub::State::on_handed_over(const Call& call, const input::EngineAnswer& in, Actions& out) {
  --engine.shard(call.shard).handing;
  if (in.status == 0 && tokens.find(call.token) == none) emit_erase_token(call.token, false, out);
  hand_over_next(call.shard, out);
}

}  // namespace sidekick
