// Topic names and the subscribers of each. Knows clients as numbers only.
#pragma once

#include <string>
#include <vector>

#include "base/hash_index.hpp"

namespace sidekick {

using TopicId = u32;

class Topics {
 public:
  struct Topic {
    std::string name;  ///< empty: this slot is unused
    std::vector<u32> subscribers;
    std::vector<u32> hello_subscribers;  ///< of a channel: those that said hello
    u64 marked_in = 0;
  };

  explicit Topics(u64 hash_seed) : hash_seed_(hash_seed) {}

  /// Of a name, for callers that need it twice.
  u64 hash(Bytes name) const { return hash_bytes(hash_seed_, name); }

  /// Returns the topic's id, or `none` if it has no subscribers.
  TopicId find(Bytes name) const { return find(hash(name), name); }
  TopicId find(u64 name_hash, Bytes name) const;

  /// Returns the topic's id, creating it if needed. If nobody subscribes to it afterwards, it must
  /// be passed to release_if_idle.
  TopicId intern(Bytes name) { return intern(hash(name), name); }
  TopicId intern(u64 name_hash, Bytes name);

  /// Returns false if the client was already subscribed. has_hello: of a channel, whether the
  /// client said hello.
  bool subscribe(TopicId topic, u32 client, bool has_hello = false);

  /// Returns false if the client was not subscribed. An idle topic stays until release_if_idle.
  bool unsubscribe(TopicId topic, u32 client, bool has_hello = false);

  bool is_subscribed(TopicId topic, u32 client) const;
  void release_if_idle(TopicId topic);
  bool is_idle(TopicId topic) const {
    return topics_[topic].subscribers.empty() && topics_[topic].hello_subscribers.empty();
  }

  /// In ascending order of client id: the order does not depend on history, so a restored hub
  /// publishes the same bytes.
  const std::vector<u32>& subscribers(TopicId topic) const { return topics_[topic].subscribers; }
  const std::vector<u32>& hello_subscribers(TopicId topic) const {
    return topics_[topic].hello_subscribers;
  }
  const std::string& name(TopicId topic) const { return topics_[topic].name; }

  /// Starts a new round of marks; mark() returns true for the first call with a topic in this
  /// round. Finds duplicates in O(1).
  void begin_marks() { ++round_; }
  bool mark(TopicId topic);
  bool is_marked(TopicId topic) const { return topics_[topic].marked_in == round_; }

  u32 count() const { return topics_.size(); }
  const std::vector<Topic>& slots() const { return topics_.slots(); }

  /// The quantity that topic_store_bytes_max limits: the memory of resource topics and their
  /// subscriptions, rounded up. A name counts once for its topic and once, in its stored form, for
  /// each listener's record. Channel topics are not counted: tokens bound them, and strangers, who
  /// may listen to resources, must not use up the room for channels.
  u64 store_bytes() const { return store_bytes_; }
  static u64 topic_cost(Bytes name);
  static u64 subscription_cost(Bytes name);

 private:
  std::vector<u32>& subscribers(TopicId topic, bool has_hello) {
    return has_hello ? topics_[topic].hello_subscribers : topics_[topic].subscribers;
  }

  u64 hash_seed_;
  Pool<Topic> topics_;
  HashIndex index_;
  u64 store_bytes_ = 0;
  u64 round_ = 0;
};

}  // namespace sidekick
