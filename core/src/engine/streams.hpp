// The latest messages of channels, oldest first. Each knows the stamp of the change of its channel
// before it, so that a reader sees whether one is missing.
#pragma once

#include <string>

#include "engine/keys.hpp"
#include "engine/rows.hpp"

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
  void add(Bytes topic, u64 at, const MessageRow& message, u64 count_max, Rows& rows);
  void remove(Bytes topic, Rows& rows);
  void expire(Millis now, Rows& rows);

  /// A change of the channel is not among its messages. Only the change log knows it, and a restore
  /// loses the change log. So a restore must not find the messages before this change.
  void erase_rows(Bytes topic, Rows& rows);
  /// Takes a message from a row. Returns false if the channel has a later one.
  bool restore(Bytes topic, u64 at, const MessageRow& message);
  /// The stamp of the latest message of each channel, ascending, and its name.
  std::vector<std::pair<u64, Bytes>> latest() const;

  // The messages of a channel above a position: for (m = first; m != none; m = next).
  u32 first(Bytes topic, u64 position) const;
  u32 next(u32 message) const { return messages_[message].next; }
  const Message& operator[](u32 message) const { return messages_[message]; }

  u64 bytes() const { return streams_.bytes(); }
  Millis soonest() const { return streams_.soonest(); }

 private:
  struct Stream {
    u32 oldest = none;
    u32 newest = none;
    u32 count = 0;
    u64 bytes = 0;
    u64 unstored_to = 0;  ///< messages up to this stamp have no rows
  };

  void append(u32 id, u64 at, const MessageRow& message);
  void forget_oldest(u32 id, Rows& rows);
  void remove(u32 id, Rows& rows);

  Keys<Stream> streams_;
  Pool<Message> messages_;
};

}  // namespace sidekick::engine
