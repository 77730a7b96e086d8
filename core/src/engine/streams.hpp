// The latest messages of channels, oldest first. Each knows the stamp of the change of its channel
// before it, so that a reader sees whether one is missing.
#pragma once

#include <string>

#include "engine/keys.hpp"

namespace sidekick::engine {

class Streams {
 public:
  struct Message {
    u64 at = 0;
    u64 before = 0;
    u32 next = none;  // of the same channel
    std::string text;
  };

  explicit Streams(u64 hash_seed) : streams_(hash_seed) {}

  /// Appends a message and forgets the oldest ones beyond `count_max`, at least 1. The channel's
  /// messages exist up to `expires_at`.
  void add(Bytes topic, u64 at, u64 before, Bytes text, u64 count_max, Millis expires_at);
  void remove(Bytes topic);
  void expire(Millis now);

  // The messages of a channel above a position: for (m = first; m != none; m = next).
  u32 first(Bytes topic, u64 position) const;
  u32 next(u32 message) const { return messages_[message].next; }
  const Message& operator[](u32 message) const { return messages_[message]; }

  u64 bytes() const { return streams_.bytes(); }

 private:
  struct Stream {
    u32 oldest = none;
    u32 newest = none;
    u32 count = 0;
    u64 bytes = 0;
  };

  void forget_oldest(Stream& stream);
  void remove(u32 id);

  Keys<Stream> streams_;
  Pool<Message> messages_;
};

}  // namespace sidekick::engine
