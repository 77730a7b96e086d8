// The stamp of the latest change of each topic, bounded in topics: those longest unchanged are
// forgotten first.
#pragma once

#include <string>

#include "base/chain.hpp"
#include "base/hash_index.hpp"

namespace sidekick::engine {

class ChangeLog {
 public:
  explicit ChangeLog(u64 hash_seed) : hash_seed_(hash_seed) {}

  /// `at`: above all stamps in it.
  void add(Bytes topic, u64 at);

  /// Returns the stamp of the latest known change, or 0.
  u64 find(Bytes topic) const;

  /// Forgets topics until at most `count_max` are left. Returns the latest stamp among those, or 0
  /// if there was none.
  u64 trim(u64 count_max);

  u64 bytes() const { return bytes_; }

 private:
  struct Change {
    Link link;
    u64 at = 0;
    std::string topic;
  };

  u64 hash(Bytes topic) const { return hash_bytes(hash_seed_, topic); }
  static u64 cost_of(Bytes topic) { return topic.size() + 64; }
  u32 slot_of(Bytes topic) const;

  u64 hash_seed_;
  Pool<Change> changes_;
  Chain<Change> chain_;  // by `at`
  HashIndex index_;
  u64 bytes_ = 0;
};

}  // namespace sidekick::engine
