// A durable shard: the rows that it stores, and its restore from them. A restored shard differs
// from one that was never dropped in two ways only: its change log does not reach back, and its
// stamps continue above all that the previous one may have issued.
#include <algorithm>

#include "engine/shard_state.hpp"

namespace sidekick::engine {

namespace {

/// The stored bound of the stamps is this far ahead, so that a row is written every 10 s and not
/// for each stamp. A restored shard's stamps begin there.
constexpr u64 bound_ahead_us = 10'000'000;
/// Assumed maximum difference between the clocks of two machines on which a shard runs.
constexpr u64 clock_difference_us = 1'000'000;
constexpr Millis alarm_step_ms = 60'000;

std::optional<std::string> owned(const std::optional<Bytes>& text) {
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

}  // namespace

bool Shard::restore(Bytes key, Bytes value) {
  SIDEKICK_CHECK(state_->is_restoring);
  if (key.empty()) return false;
  const Bytes name = key.substr(1);
  switch (static_cast<RowKind>(key.front())) {
    case RowKind::bound: {
      u64 at = 0;
      if (!name.empty() || !decode_bound(value, at)) return false;
      state_->bound = std::max(state_->bound, at);
      return true;
    }
    case RowKind::message:
      return state_->restore_message(name, value);
    case RowKind::node:
      return state_->restore_node(name, value);
    case RowKind::token:
      return state_->restore_token(name, value);
  }
  return false;
}

void Shard::restored(u64 now_us) {
  SIDEKICK_CHECK(state_->is_restoring);
  State& it = *state_;
  it.is_restoring = false;
  it.now_us = now_us;
  ShardData& data = it.data;
  const auto latest = data.streams.latest();
  for (const auto& [at, topic] : latest) data.changes.add(topic, at);
  if (!latest.empty()) it.bound = std::max(it.bound, latest.back().first);
  data.epoch = it.config.epoch;
  data.server = it.server;
  data.at = data.floor = data.restored_to = std::max(it.bound, now_us + clock_difference_us);
  it.expire();
  it.put_bound();
}

std::vector<Shard::Row> Shard::take_rows() { return state_->rows.take(); }

void Shard::tick(u64 now_us) { state_->begin(now_us); }

Millis Shard::alarm_at() const {
  Millis soonest = 0;
  for (const Millis at : {state_->data.leases.soonest(), state_->data.tokens.soonest(),
                          state_->data.streams.soonest()}) {
    if (at != 0 && (soonest == 0 || at < soonest)) soonest = at;
  }
  if (soonest == 0) return 0;
  return std::min((soonest / alarm_step_ms + 1) * alarm_step_ms, number_max);
}

void Shard::State::put_bound() {
  if (!rows.is_on() || position() <= bound) return;
  bound = position() + bound_ahead_us;
  rows.put_bound(bound);
}

void Shard::State::put_node(Bytes name) {
  if (!rows.is_on()) return;
  const u32 lease = data.leases.find(name);
  const bool is_attached = nodes.find(name) != none;
  if (lease == none && !is_attached) return rows.erase_node(name);
  rows.put_node(name, {.is_attached = is_attached,
                       .has_lease = lease != none,
                       .lease_until = lease == none ? 0 : data.leases.expires_at(lease)});
}

bool Shard::State::restore_token(Bytes name, Bytes value) {
  TokenRow row;
  if (!decode_token_row(value, row) || data.tokens.find(name) != none) return false;
  const u32 id = data.tokens.intern(name);
  data.tokens[id] = {owned(row.record), owned(row.node), owned(row.session), row.registered};
  keep_token(id, row.expires_at);
  return true;
}

bool Shard::State::restore_node(Bytes name, Bytes value) {
  NodeRow row;
  if (!decode_node_row(value, row)) return false;
  if (row.is_attached) set_open(nodes.intern(name), true);
  if (row.has_lease) keep_lease(name, row.lease_until);
  return true;
}

bool Shard::State::restore_message(Bytes key, Bytes value) {
  MessageRow row;
  Bytes topic;
  u64 at = 0;
  return decode_message_key(key, topic, at) && decode_message_row(value, row) &&
         data.streams.restore(topic, at, row);
}

}  // namespace sidekick::engine
