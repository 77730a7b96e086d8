#include "tables/engine.hpp"

#include <algorithm>

#include "base/numbers.hpp"
#include "sidekick/text.hpp"

namespace sidekick {

bool decode_stamp(Bytes text, u64& out) {
  constexpr u32 digits_max = 16;  // of number_max
  return decode_number(text, 10, digits_max, out) && out <= number_max;
}

std::string Engine::epoch() const {
  if (shards_.size() == 1) return shards_[0].epoch;
  u64 hash = 0;
  for (const Shard& shard : shards_) hash = hash_bytes(hash, shard.epoch);
  return std::string(Digits(hash));
}

u64 Engine::position() const { return position(none, 0); }

u64 Engine::position(u32 shard, u64 at) const {
  u64 least = number_max;
  for (u32 i = 0; i < shards_.size(); ++i)
    least = std::min(least, i == shard ? at : position_of(i));
  return least;
}

u32 Engine::want(TopicId topic, Bytes name) {
  if (topic >= interest_of_.size()) interest_of_.resize(topic + 1, none);
  u32& id = interest_of_[topic];
  if (id == none) {
    id = interests_.add();
    interests_[id].topic = topic;
    interests_[id].shard = shard_of(name);
  }
  return id;
}

void Engine::buffer(Interest& interest, u64 at, Bytes text, u32 bytes_max) {
  const u64 cost = text.size() + 128;
  if (interest.is_overflown || buffered_bytes_ + cost > bytes_max) {
    clear_buffer(interest);
    interest.is_overflown = true;
    return;
  }
  buffered_bytes_ += cost;
  interest.buffered.push_back({at, std::string(text)});
}

void Engine::clear_buffer(Interest& interest) {
  for (const Interest::Message& message : interest.buffered)
    buffered_bytes_ -= message.text.size() + 128;
  interest.buffered = {};
  interest.is_overflown = false;
}

void Engine::forget(u32 interest) {
  clear_buffer(interests_[interest]);
  interest_of_[interests_[interest].topic] = none;
  interests_.remove(interest);
}

Call& Engine::begin_call(Call call) {
  do ++last_call_;
  while (last_call_ == 0 || slot_of(last_call_) != none);
  call.number = last_call_;
  const u32 slot = calls_.add();
  index_.add(hash(last_call_), slot);
  if (!call.token.empty()) tokens_.add(token_hash(call.token), slot);
  return calls_[slot] = std::move(call);
}

Call* Engine::find_call(u32 number) {
  const u32 slot = slot_of(number);
  return slot == none ? nullptr : &calls_[slot];
}

Call* Engine::find_call_of(Bytes token) {
  const u32 slot =
      tokens_.find(token_hash(token), [&](u32 id) { return calls_[id].token == token; });
  return slot == none ? nullptr : &calls_[slot];
}

void Engine::doubt_calls(u32 shard) {
  for (u32 slot = 0; slot < calls_.slots().size(); ++slot)
    if (calls_[slot].shard == shard) calls_[slot].is_doubted = true;
}

Call Engine::end_call(u32 number) {
  const u32 slot = slot_of(number);
  if (slot == none) return {};
  index_.remove(hash(number), slot);
  if (!calls_[slot].token.empty()) tokens_.remove(token_hash(calls_[slot].token), slot);
  Call call = std::move(calls_[slot]);
  calls_.remove(slot);
  return call;
}

}  // namespace sidekick
