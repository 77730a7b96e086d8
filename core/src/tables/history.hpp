// The latest messages of channels, so that a client that comes back misses none. A channel is
// recorded from its first subscriber that said hello until history_ms after the last has left.
// Bounded in age and bytes over all channels, and in messages per channel.
#pragma once

#include <string>

#include "base/chain.hpp"
#include "base/hash_index.hpp"
#include "sidekick/config.hpp"

namespace sidekick {

class History {
 public:
  explicit History(const Config& config) : config_(config) {}

  bool empty() const { return records_.size() == 0; }

  /// Returns the record of a topic, or `none`. `hash`: of the topic's name.
  u32 find(u64 hash, Bytes topic) const { return empty() ? none : find_record(hash, topic); }

  /// The topic has a subscriber that said hello; its record has everything above `position`.
  void join(u64 hash, Bytes topic, u64 position);
  /// It has none any more.
  void leave(u64 hash, Bytes topic, u64 position);

  /// Forgets what is older than `position`: messages, and records that were left before.
  void expire(u64 position);
  void add(u32 record, u64 at, Bytes text);

  /// The lowest position from which it can tell every message of the topic.
  u64 floor(u32 record) const { return records_[record].floor; }

  // The messages of a record above a position, oldest first: for (m = first; m != none; m = next).
  u32 first(u32 record, u64 position) const;
  u32 next(u32 message) const { return messages_[message].next; }
  Bytes text(u32 message) const { return messages_[message].text; }

  /// The quantity that history_bytes_max limits.
  u64 bytes() const { return bytes_; }

 private:
  struct Record {
    Link link;  // in left_
    u64 hash = 0;
    std::string topic;
    u64 floor = 0;
    u64 left_at = 0;
    bool is_left = false;
    u32 oldest = none;
    u32 newest = none;
    u32 count = 0;
  };
  struct Message {
    Link link;  // in all_
    u64 at = 0;
    u32 record = none;
    u32 next = none;  // of the same record
    std::string text;
  };

  static u64 cost_of(const Record& record) { return record.topic.size() + 160; }
  static u64 cost_of(const Message& message) { return message.text.size() + 96; }
  u32 find_record(u64 hash, Bytes topic) const;
  void shrink();
  void forget_oldest(u32 record);
  void erase(u32 record);

  const Config& config_;
  u64 bytes_ = 0;
  Pool<Record> records_;
  Pool<Message> messages_;
  Chain<Record> left_;
  Chain<Message> all_;
  HashIndex index_;
};

}  // namespace sidekick
