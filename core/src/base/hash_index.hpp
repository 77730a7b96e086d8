// Finds slot ids by a 64-bit hash: open addressing, linear probing, no tombstones. Never iterated,
// so its layout shows nowhere.
#pragma once

#include <vector>

#include "base/pool.hpp"

namespace sidekick {

/// SipHash-1-3 (Aumasson, Bernstein 2012) of `bytes`: keys come from strangers, who must not be
/// able to choose collisions.
u64 hash_bytes(u64 seed, Bytes bytes);

/// For numbers that hosts and hubs give out themselves, so there is nothing to defend. All bits of
/// `number` reach the low bits.
inline u64 hash_number(u64 seed, u32 number) {
  const u64 product = (number ^ seed) * 0x9E3779B97F4A7C15;
  return product ^ product >> 32;
}

class HashIndex {
 public:
  /// The id filed under `hash` for which `is_it(id)` holds, or `none`.
  template <class Predicate>
  u32 find(u64 hash, Predicate&& is_it) const {
    if (entries_.empty()) return none;
    for (u32 at = home(hash);; at = next(at)) {
      const Entry& entry = entries_[at];
      if (entry.id == none) return none;
      if (entry.hash == static_cast<u32>(hash >> 32) && is_it(entry.id)) return entry.id;
    }
  }

  /// Files `id`, which must not be filed yet.
  void add(u64 hash, u32 id);

  /// Removes `id`, which must be filed under `hash`.
  void remove(u64 hash, u32 id);

 private:
  // The low half of a hash decides the place, the high half is kept to compare.
  struct Entry {
    u32 hash = 0;
    u32 low = 0;
    u32 id = none;
  };

  u32 mask() const { return static_cast<u32>(entries_.size() - 1); }
  u32 home(u64 hash) const { return static_cast<u32>(hash) & mask(); }
  u32 next(u32 at) const { return (at + 1) & mask(); }
  void place(const Entry& entry);
  void resize(u32 size);

  std::vector<Entry> entries_;  // a power of two of them, or none
  u32 count_ = 0;
};

}  // namespace sidekick
