// Finds slot ids by a 64-bit hash: open addressing, linear probing, no tombstones. Never iterated,
// so its layout is not observable.
#pragma once

#include <vector>

#include "base/pool.hpp"

namespace sidekick {

/// SipHash-1-3 (Aumasson, Bernstein 2012) of `bytes`: strangers choose the keys and must not be
/// able to cause collisions.
u64 hash_bytes(u64 seed, Bytes bytes);

/// For numbers assigned by hosts and hubs, which need no protection against collisions. All bits of
/// `number` reach the low bits.
inline u64 hash_number(u64 seed, u32 number) {
  const u64 product = (number ^ seed) * 0x9E3779B97F4A7C15;
  return product ^ product >> 32;
}

class HashIndex {
 public:
  /// Returns the id stored under `hash` for which `is_it(id)` holds, or `none`.
  template <class Predicate>
  u32 find(u64 hash, Predicate&& is_it) const {
    if (entries_.empty()) return none;
    for (u32 at = home(hash);; at = next(at)) {
      const Entry& entry = entries_[at];
      if (entry.id == none) return none;
      if (entry.hash == static_cast<u32>(hash >> 32) && is_it(entry.id)) return entry.id;
    }
  }

  /// Stores `id`, which must not be stored yet.
  void add(u64 hash, u32 id);

  /// Removes `id`, which must be stored under `hash`.
  void remove(u64 hash, u32 id);

 private:
  // The low half of a hash selects the position; the high half is stored for comparison.
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

  std::vector<Entry> entries_;  // the size is a power of two, or zero
  u32 count_ = 0;
};

}  // namespace sidekick
