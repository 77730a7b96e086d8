#include "tables/engine.hpp"

#include <algorithm>

namespace sidekick {

u64 Engine::position() const {
  u64 least = number_max;
  for (const Shard& shard : shards_) least = std::min(least, shard.position);
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

void Engine::forget(u32 interest) {
  interest_of_[interests_[interest].topic] = none;
  interests_.remove(interest);
}

Call& Engine::begin_call(Call call) {
  do ++last_call_;
  while (last_call_ == 0 || slot_of(last_call_) != none);
  call.number = last_call_;
  const u32 slot = calls_.add();
  index_.add(hash(last_call_), slot);
  return calls_[slot] = std::move(call);
}

Call* Engine::find_call(u32 number) {
  const u32 slot = slot_of(number);
  return slot == none ? nullptr : &calls_[slot];
}

Call Engine::end_call(u32 number) {
  const u32 slot = slot_of(number);
  if (slot == none) return {};
  index_.remove(hash(number), slot);
  Call call = std::move(calls_[slot]);
  calls_.remove(slot);
  return call;
}

}  // namespace sidekick
