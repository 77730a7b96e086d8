// The change log: when each resource was last announced as changed, so that a client that comes
// back learns what it has missed. Bounded in bytes: the names longest unchanged go first.
// Exists only while clients that said hello are there, or were until change_log_ms ago.
#pragma once

#include <string>

#include "base/chain.hpp"
#include "base/hash_index.hpp"

namespace sidekick {

class Changes {
 public:
  /// Whether it exists.
  bool is_on() const { return is_on_; }

  /// Begins it, unless it exists; it knows all changes above this position.
  void start(u64 position);
  void stop() { *this = Changes(); }

  /// `hash`: of the name, any that find() is given, too.
  void add(u64 hash, Bytes name, u64 at, u32 bytes_max);

  /// Returns the stamp of the latest known change of this resource, or 0.
  u64 find(u64 hash, Bytes name) const;

  /// The lowest position from which it can tell every change.
  u64 floor() const { return floor_; }

  /// The quantity that change_log_bytes_max limits.
  u64 bytes() const { return bytes_; }

 private:
  struct Change {
    Link link;
    u64 at = 0;
    u64 hash = 0;
    std::string name;
  };

  u32 slot_of(u64 hash, Bytes name) const;
  static u64 cost_of(Bytes name) { return name.size() + 64; }
  void evict_oldest();

  bool is_on_ = false;
  u64 floor_ = 0;
  u64 bytes_ = 0;
  Pool<Change> changes_;
  Chain<Change> chain_;  // by `at`
  HashIndex index_;
};

}  // namespace sidekick
