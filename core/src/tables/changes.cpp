#include "tables/changes.hpp"

namespace sidekick {

void Changes::start(u64 position) {
  if (is_on_) return;
  is_on_ = true;
  floor_ = position;
}

void Changes::add(u64 hash, Bytes name, u64 at, u32 bytes_max) {
  u32 slot = slot_of(hash, name);
  if (slot != none) {
    chain_.remove(changes_, slot);
  } else {
    slot = changes_.add();
    changes_[slot].hash = hash;
    changes_[slot].name.assign(name);
    index_.add(hash, slot);
    bytes_ += cost_of(name);
  }
  changes_[slot].at = at;
  chain_.append(changes_, slot);
  while (bytes_ > bytes_max) evict_oldest();
}

u64 Changes::find(u64 hash, Bytes name) const {
  const u32 slot = slot_of(hash, name);
  return slot == none ? 0 : changes_[slot].at;
}

u32 Changes::slot_of(u64 hash, Bytes name) const {
  return index_.find(hash, [&](u32 slot) { return changes_[slot].name == name; });
}

void Changes::evict_oldest() {
  const u32 slot = chain_.oldest();
  const Change& change = changes_[slot];
  floor_ = change.at;  // a client at this position has not missed it
  bytes_ -= cost_of(change.name);
  index_.remove(change.hash, slot);
  chain_.remove(changes_, slot);
  changes_.remove(slot);
}

}  // namespace sidekick
