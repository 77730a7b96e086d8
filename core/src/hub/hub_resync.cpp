// After a shard has come back, the hub finds out whether the shard still has the history that the
// hub knows. Then it joins its topics again, and tells the listeners of each resource that has
// changed meanwhile. The position stands still until all of them are told.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr std::size_t topics_per_batch = 512;
constexpr u32 batches_max = 4;
constexpr Millis part_ms = 100;
}  // namespace

void Hub::State::sync(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  if (shard.is_synced) shard.down_at = now;
  shard.is_synced = shard.needs_sync = false;
  shard.is_resyncing = true;
  if (shard.deadline != none) deadlines.remove(std::exchange(shard.deadline, none));
  TextArena& text = out.text();
  append_epoch(text, stamps.epoch());
  const Bytes unused_epoch = text.write({".", Digits(++epochs_drawn)}).finish();
  const Bytes epoch = text.copy(shard.epoch);
  const Bytes server = text.copy(shard.server);
  const Bytes top = text.write({Digits(shard.top)}).finish();
  const Bytes args[] = {config.node, unused_epoch, epoch, server, top};
  call_script(Call(Purpose::sync, index), "sync", args, out);
}

void Hub::State::on_synced(u32 index, const input::EngineAnswer& in, Actions& out) {
  Shard& shard = engine.shard(index);
  u64 at = 0;
  if (in.status != 0 || in.values.size() != 3 || !is_epoch_name(in.values[0]) ||
      !decode_stamp(in.values[2], at)) {
    shard.needs_sync = true;  // the next heartbeat tries again
    return;
  }
  // Also if the last resync did not tell all listeners: some may have missed more meanwhile.
  const bool is_new = shard.epoch != in.values[0];
  if (is_new || shard.is_all_changed) lose_all(index);
  if (is_new) {
    shard.epoch = in.values[0];
    shard.position = std::min(shard.position, at);
    shard.top = shard.received = 0;
    begin_epoch_of_tokens(index, at);
  }
  shard.server = in.values[1];
  shard.synced_at = at;
  shard.is_synced = true;
  shard.rejoining.clear();
  shard.rejoined = 0;
  bool has_listeners = false;
  for (u32 id = 0; id < engine.interests().size(); ++id) {
    Interest& it = engine.interest(id);
    if (it.topic == none || it.shard != index) continue;
    has_listeners = true;
    if (is_new) it.received = it.recovered = 0;  // stamps of two epochs do not compare
    if (it.state == Interest::State::wanted) shard.rejoining.push_back(id);
  }
  if (!has_listeners) {
    shard.is_all_changed = false;
    settle(index);
  }
  flush_releases(index, out);
  hand_over_next(index, out);
  reclaim(index, out);
  // Before run_blocked: a topic that a waiting frame joins may have listeners that missed changes.
  rejoin(index, out);
  run_blocked(out);
}

/// The stamps of a new epoch may be lower. With a stamp of the epoch before, a token would look
/// newer than messages that are still to come. And the engine may have forgotten that another hub
/// has had a token.
void Hub::State::begin_epoch_of_tokens(u32 index, u64 at) {
  for (TokenId id = 0; id < tokens.slots().size(); ++id) {
    Token& token = tokens[id];
    if (token.key().empty() || engine.shard_of(token.key()) != index) continue;
    token.registered_at = std::min(token.registered_at, at);
    tokens.outdate_sends(id);
  }
}

/// At most batches_max calls are under way; each answer starts the next one.
void Hub::State::rejoin(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  while (shard.batches < batches_max && shard.rejoined < shard.rejoining.size()) {
    Call call(Purpose::rejoin, index);
    while (shard.rejoined < shard.rejoining.size() && call.interests.size() < topics_per_batch) {
      const u32 id = shard.rejoining[shard.rejoined++];
      const Interest& it = engine.interest(id);
      if (it.topic != none && it.shard == index && it.state == Interest::State::wanted)
        call.interests.push_back(id);
    }
    if (call.interests.empty()) continue;
    call_rejoin(std::move(call), out);
  }
  if (shard.batches != 0 || shard.rejoined < shard.rejoining.size()) return;
  shard.rejoining = {};
  if (!shard.is_all_changed) {
    if (shard.is_resyncing && !shard.needs_sync) ++metrics[Metric::engine_resyncs_changes];
    return settle(index);
  }
  shard.to_tell = static_cast<u32>(topics.slots().size());
  shard.told = 0;
  shard.tell_first =
      shard.to_tell == 0 ? 0 : static_cast<u32>(hash_bytes(0, config.node) % shard.to_tell);
  tell_all(index, out);
}

void Hub::State::call_rejoin(Call call, Actions& out) {
  call.purpose = Purpose::rejoin;
  for (const u32 id : call.interests) {
    Interest& it = engine.interest(id);
    it.is_recovering = !is_resource(topics.name(it.topic));
  }
  ++engine.shard(call.shard).batches;
  call_join(std::move(call), out);
}

/// The topics are joined again. Asks which of them have changed since this hub's position.
void Hub::State::catch_up(const Call& joined, bool is_joined, Actions& out) {
  Shard& shard = engine.shard(joined.shard);
  Call call(Purpose::catch_up, joined.shard);
  for (const u32 id : joined.interests) {
    if (engine.interest(id).topic != none) await(call, id);
  }
  shard.needs_sync = shard.needs_sync || !is_joined;
  if (!is_joined || shard.is_all_changed || call.interests.empty()) {
    for (const u32 id : call.interests) stop_recovery(id, out);
    end_awaiting(call);
    --shard.batches;
    return rejoin(joined.shard, out);
  }
  TextArena& text = out.text();
  std::vector<Bytes> args{text.copy(shard.epoch), text.write({Digits(shard.position)}).finish()};
  for (const u32 id : call.interests)
    args.push_back(text.copy(topics.name(engine.interest(id).topic)));
  note_recovery(*engine.find_call(call_script(std::move(call), "changed", args, out)));
}

/// Frames that want one of these topics wait for the answer. Otherwise a new subscriber would get
/// the messages that earlier subscribers missed.
void Hub::State::note_recovery(const Call& call) {
  for (const u32 id : call.interests)
    if (engine.interest(id).is_recovering) engine.interest(id).call = call.number;
}

void Hub::State::on_caught_up(const Call& call, const input::EngineAnswer& in, Actions& out) {
  Shard& shard = engine.shard(call.shard);
  --shard.batches;
  end_awaiting(call);
  if (in.status != 0 || in.values.empty()) lose_all(call.shard);
  std::vector<bool> has_changed(call.interests.size());
  for (std::size_t i = 1; i < in.values.size(); ++i) {
    u64 place = 0;
    if (!decode_stamp(in.values[i], place) || place >= call.interests.size()) {
      lose_all(call.shard);
      break;
    }
    has_changed[place] = true;
  }
  for (std::size_t i = 0; i < call.interests.size(); ++i) {
    const u32 id = call.interests[i];
    const Interest& it = engine.interest(id);
    if (it.topic == none) continue;
    const bool is_told = has_changed[i] && !shard.is_all_changed;
    if (is_told && it.is_recovering) {
      ++shard.batches;
      replay(id, out);
    } else if (is_told) {
      tell_changed(it.topic, out);
    } else {
      stop_recovery(id, out);
    }
  }
  rejoin(call.shard, out);
}

/// The hub does not know what has changed. The subscribers of a channel are told before its next
/// message.
void Hub::State::lose_all(u32 index) {
  engine.shard(index).is_all_changed = true;
  for (u32 id = 0; id < engine.interests().size(); ++id) {
    Interest& it = engine.interest(id);
    if (it.topic == none || it.shard != index) continue;
    it.is_lost = !is_resource(topics.name(it.topic));
    it.recovered = 0;
  }
}

/// Tells the listeners of a resource that it has changed, or may have.
void Hub::State::tell_changed(TopicId topic, Actions& out) {
  const Bytes name = topics.name(topic);
  constexpr Bytes prefix = "resource:";
  if (!name.starts_with(prefix) || topics.is_idle(topic)) return;
  emit_publish(topics.subscribers(topic), encode_updated(out.text(), name.substr(prefix.size())),
               out);
}

/// The hub does not know what has changed, so it tells every listener. It does so in parts, because
/// each listener may send a request to the app server. Each Sidekick starts at another topic.
void Hub::State::tell_all(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  if (shard.deadline != none) deadlines.remove(std::exchange(shard.deadline, none));
  const Millis spread = std::max(config.resync_spread_ms, spread_ms());
  const u32 part = static_cast<u32>(shard.to_tell * part_ms / spread + 1);
  for (u32 i = 0; i < part && shard.told < shard.to_tell; ++i, ++shard.told) {
    const TopicId topic = (shard.tell_first + shard.told) % shard.to_tell;
    const u32 id = engine.interest_of(topic);
    if (id == none || engine.interest(id).shard != index) continue;
    if (is_resource(topics.name(topic))) {
      tell_changed(topic, out);
    } else if (engine.interest(id).is_lost) {
      tell_lost(topic, out);
    }
  }
  if (shard.told == shard.to_tell) {
    shard.is_all_changed = false;
    ++metrics[Metric::engine_resyncs_all];
    return settle(index);
  }
  shard.deadline = deadlines.add({now + part_ms, Due::resync, index, index});
}

/// All listeners are told: the position moves again.
void Hub::State::settle(u32 index) {
  Shard& shard = engine.shard(index);
  if (shard.needs_sync) return;  // some topics are not joined yet
  shard.is_resyncing = false;
  shard.position = std::max(shard.synced_at, shard.received);
  shard.top = std::max(shard.top, shard.synced_at);
}

}  // namespace sidekick
