#include "engine/change_log.hpp"

namespace sidekick::engine {

void ChangeLog::add(Bytes topic, u64 at) {
  u32 slot = slot_of(topic);
  if (slot != none) {
    chain_.remove(changes_, slot);
  } else {
    slot = changes_.add();
    changes_[slot].topic.assign(topic);
    index_.add(hash(topic), slot);
    bytes_ += cost_of(topic);
  }
  changes_[slot].at = at;
  chain_.append(changes_, slot);
}

u64 ChangeLog::find(Bytes topic) const {
  const u32 slot = slot_of(topic);
  return slot == none ? 0 : changes_[slot].at;
}

u64 ChangeLog::trim(u64 count_max) {
  u64 latest = 0;
  while (changes_.size() > count_max) {
    const u32 slot = chain_.oldest();
    const Change& change = changes_[slot];
    latest = change.at;
    bytes_ -= cost_of(change.topic);
    index_.remove(hash(change.topic), slot);
    chain_.remove(changes_, slot);
    changes_.remove(slot);
  }
  return latest;
}

u32 ChangeLog::slot_of(Bytes topic) const {
  return index_.find(hash(topic), [&](u32 slot) { return changes_[slot].topic == topic; });
}

}  // namespace sidekick::engine
