// The border of a shard: checks scripts and their arguments.
#include <algorithm>

#include "base/numbers.hpp"
#include "engine/shard_state.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/text.hpp"

namespace sidekick::engine {

namespace {

constexpr u32 digits_max = 16;
constexpr std::size_t ends_max = 16;

bool is_number(Bytes text) {
  u64 number = 0;
  return decode_number(text, 10, digits_max, number) && number <= number_max;
}

bool is_since(Bytes text) {
  if (text.empty() || is_number(text)) return true;
  return text.front() == '-' && text != "-0" && is_number(text.substr(1));
}

/// Returns why a script refuses these arguments; empty: it does not.
std::string wrong_with(const EngineScript& script, std::span<const Bytes> args, u64 bytes_max) {
  std::string why;
  const u32 count = static_cast<u32>(std::min<std::size_t>(args.size(), none));
  if (!is_engine_count(script.arguments, count)) {
    append_form(why, "%: wrong number of arguments: %", script.name, u64{count});
    return why;
  }
  u64 bytes = 0;
  for (u32 i = 0; i < count; ++i) {
    bytes += args[i].size();
    const EngineField& field = engine_field_at(script.arguments, i);
    const bool is_stamp = field.kind == EngineKind::stamp || field.kind == EngineKind::number;
    if (is_stamp && !is_number(args[i]))
      append_form(why, "%: expected a number as %, got $", script.name, field.name, args[i]);
    else if (field.kind == EngineKind::since && !is_since(args[i]))
      append_form(why, "%: expected a stamp as %, got $", script.name, field.name, args[i]);
    if (!why.empty()) return why;
  }
  if (bytes > bytes_max)
    append_form(why, "%: the arguments exceed % bytes (run_bytes_max)", script.name, bytes_max);
  return why;
}

}  // namespace

Shard::Shard(Bytes server, const ShardConfig& config)
    : state_(std::make_unique<State>(server, config)) {}
Shard::~Shard() = default;
Shard::Shard(const Shard& other) : state_(std::make_unique<State>(*other.state_)) {}
Shard& Shard::operator=(const Shard& other) {
  if (this != &other) state_ = std::make_unique<State>(*other.state_);
  return *this;
}

Shard::Answer Shard::run(u64 now_us, Bytes script, std::span<const Bytes> args) {
  static constexpr void (State::* runs[])(State::Args, State::Values&) = {
#define SIDEKICK_SCRIPT(name, ...) &State::run_##name,
#include "sidekick/engine.def"
  };
  const EngineScript* const it = find_engine_script(script);
  std::string why;
  if (it == nullptr)
    append_form(why, "expected a script of the engine, got $", script);
  else
    why = wrong_with(*it, args, state_->config.run_bytes_max);

  state_->begin(now_us);
  if (why.empty() && it->flags.empty() && state_->is_full())
    append_form(why, "OOM %: the memory of the shard is full (bytes_max)", script);
  if (!why.empty()) return {1, {why}};
  Answer answer;
  (state_.get()->*runs[it - std::begin(scripts)])(args, answer.values);
  state_->put_bound();
  return answer;
}

std::vector<Shard::Publication> Shard::take_publications() {
  return std::exchange(state_->publications, {});
}

void Shard::restart(Bytes server) { state_ = std::make_unique<State>(server, state_->config); }

void Shard::restart(Bytes server, const Shard& copy) {
  ShardData data = copy.state_->data;  // first: the copy may be this one
  restart(server);
  state_->data = std::move(data);
}

void Shard::flush() { state_->data = ShardData(state_->config.hash_seed); }

void Shard::set_full(bool is_full) { state_->is_set_full = is_full; }

u64 Shard::stored_bytes() const { return state_->bytes(); }

std::vector<Shard::Hold> Shard::holds() const {
  std::vector<Hold> holds;
  const auto& tokens = state_->data.tokens;
  for (u32 id = 0; id < tokens.slots().size(); ++id) {
    const auto& slot = tokens.slots()[id];
    if (slot.is_used && slot.value.record && slot.value.node)
      holds.push_back({slot.name, *slot.value.node, *slot.value.session, tokens.expires_at(id)});
  }
  return holds;
}

// --- what the scripts share ---

u64 number_of(Bytes digits) {
  u64 number = 0;
  SIDEKICK_CHECK(decode_number(digits, 10, digits_max, number));
  return number;
}

/// Begins each call that has a time.
void Shard::State::begin(u64 now) {
  SIDEKICK_CHECK(!is_restoring);
  now_us = now;
  expire();
}

void Shard::State::expire() {
  for (u32 id = none; (id = data.leases.find_expired(now_ms())) != none;) {
    const std::string node = data.leases.slots()[id].name;
    data.leases.remove(id);
    put_node(node);
  }
  for (u32 id = none; (id = data.tokens.find_expired(now_ms())) != none;) remove_token(id);
  data.streams.expire(now_ms(), rows);
}

/// Reserves so many stamps and returns the first one.
u64 Shard::State::stamp(u64 count) {
  const u64 first = std::max(position() + 1, now_us);
  data.at = first + count - 1;
  return first;
}

void Shard::State::trim(Bytes changes_max) {
  const u64 forgotten = data.changes.trim(number_of(changes_max));
  if (forgotten > data.restored_to) data.floor = forgotten;
}

/// Allows for the clocks of successive primaries, which may differ by 1 s.
bool Shard::State::is_in_future(u64 since) const {
  return since > std::max(position(), now_us + 1'000'000);
}

u64 ShardData::bytes() const {
  return leases.bytes() + tokens.bytes() + changes.bytes() + streams.bytes();
}

// --- once per connection, and each second ---

void Shard::State::run_sync(Args args, Values& values) {
  const Bytes unused_epoch = args[1], epoch = args[2], former = args[3];
  u64 last = data.at;
  if (data.server != server) {  // another process: a restart or a failover
    if (data.server) data.ends.insert_or_assign(*data.server, last);
    // Above all stamps of the old process, if its clock was less than 1 s ahead.
    last = std::max(position(), now_us) + 1'000'000;
  }
  bool is_lost = !data.epoch;
  if (!epoch.empty() && former != server && !is_durable()) {
    // Data is lost if the node has seen a process that this data does not know, or has seen more of
    // it than this data has. The stamp is stored, so that several such nodes cause one new epoch.
    const u64 seen = number_of(args[4]);
    const auto [end, is_unknown] = data.ends.emplace(former, seen);
    is_lost = is_lost || is_unknown || seen > end->second;
    end->second = std::max(end->second, seen);
  }
  const auto is_before = [](const auto& a, const auto& b) { return a.second < b.second; };
  while (data.ends.size() > ends_max)  // a node that has seen an evicted one has lost data, too
    data.ends.erase(std::min_element(data.ends.begin(), data.ends.end(), is_before));
  if (!data.epoch)
    data.floor = last;
  else if (is_lost)
    ++last;  // a node that knows the new epoch has then seen more than older data has
  if (is_lost) data.epoch = unused_epoch;
  data.server = server;
  data.at = last;
  values = {*data.epoch, server, std::string(Digits(last))};
}

void Shard::State::run_beat(Args args, Values&) {
  const Bytes node = args[0], lease_ms = args[1];
  const bool had = is_alive(node);
  const Millis until = lease_ms == "0" ? 0 : now_ms() + number_of(lease_ms);
  const bool is_same = had && data.leases.expires_at(data.leases.find(node)) == until;
  keep_lease(node, until);
  if (!is_same) put_node(node);
  // Time passes without changes, too. It is stored, because the clock may step back.
  if (data.epoch) data.told = std::max(position(), now_us);
  publish_to_inbox(node, compose({"beat ", args[2], had ? " 1 " : " 0 ", Digits(position()), " ",
                                  data.epoch ? Bytes(*data.epoch) : "-"}));
}

/// until: 0 for ever.
void Shard::State::keep_lease(Bytes node, Millis until) {
  const u32 lease = data.leases.intern(node);
  data.leases.set_bytes(lease, node.size() + 128);
  if (until == 0)
    data.leases.persist(lease);
  else
    data.leases.expire_at(lease, until);
}

}  // namespace sidekick::engine
