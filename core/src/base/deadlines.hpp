// Deadlines, soonest first. Removal is exact: a cancelled deadline leaves nothing behind.
#pragma once

#include <vector>

#include "base/pool.hpp"

namespace sidekick {

enum class Due : u8 {
  token_expiry,
  forward_timeout,
  topic_linger,   // a topic without listeners leaves the engine
  parked_expiry,  // a frame or request has waited long enough for the engine
  reclaim,        // the engine keeps the held tokens for longer
  resync,         // the next clients are told that everything may have changed
  drain_slice     // the next sockets close
};

class Deadlines {
 public:
  struct Entry {
    Millis at = 0;
    Due due = Due::token_expiry;
    /// Breaks ties. Must be the same after a restore, so that ties break the same way; hence no
    /// insertion counters here.
    u64 rank = 0;
    u32 owner = none;
  };

  bool empty() const { return heap_.empty(); }
  const Entry& soonest() const { return nodes_[heap_.front()].entry; }
  const Entry& entry(u32 node) const { return nodes_[node].entry; }

  /// Returns a node for remove().
  u32 add(const Entry& entry);
  void remove(u32 node);

 private:
  struct Node {
    Entry entry;
    u32 position = none;
  };

  bool is_before(u32 left, u32 right) const;
  void put(u32 position, u32 node);
  void sift_up(u32 position);
  void sift_down(u32 position);

  Pool<Node> nodes_;
  std::vector<u32> heap_;
};

}  // namespace sidekick
