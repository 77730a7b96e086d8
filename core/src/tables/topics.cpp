#include "tables/topics.hpp"

#include <algorithm>

#include "ion/writer.hpp"

namespace sidekick {

namespace {

bool is_counted(Bytes name) { return name.starts_with("resource:"); }

}  // namespace

u64 Topics::topic_cost(Bytes name) { return is_counted(name) ? name.size() + 128 : 0; }
u64 Topics::subscription_cost(Bytes name) {
  return is_counted(name) ? ion::encoded_size(name) + 16 : 0;
}

TopicId Topics::find(u64 name_hash, Bytes name) const {
  return index_.find(name_hash, [&](u32 id) { return topics_[id].name == name; });
}

TopicId Topics::intern(u64 name_hash, Bytes name) {
  const TopicId found = find(name_hash, name);
  if (found != none) return found;
  const TopicId topic = topics_.add();
  topics_[topic].name.assign(name);
  index_.add(name_hash, topic);
  store_bytes_ += topic_cost(name);
  return topic;
}

bool Topics::subscribe(TopicId topic, u32 client, bool has_hello) {
  std::vector<u32>& subscribers = this->subscribers(topic, has_hello);
  // Client ids mostly ascend, so this is mostly an append.
  const auto at = std::lower_bound(subscribers.begin(), subscribers.end(), client);
  if (at != subscribers.end() && *at == client) return false;
  subscribers.insert(at, client);
  store_bytes_ += subscription_cost(topics_[topic].name);
  return true;
}

bool Topics::unsubscribe(TopicId topic, u32 client, bool has_hello) {
  std::vector<u32>& subscribers = this->subscribers(topic, has_hello);
  const auto at = std::lower_bound(subscribers.begin(), subscribers.end(), client);
  if (at == subscribers.end() || *at != client) return false;
  subscribers.erase(at);
  shrink_if_sparse(subscribers);
  store_bytes_ -= subscription_cost(topics_[topic].name);
  return true;
}

bool Topics::is_subscribed(TopicId topic, u32 client) const {
  const std::vector<u32>& subscribers = topics_[topic].subscribers;
  return std::binary_search(subscribers.begin(), subscribers.end(), client);
}

void Topics::release_if_idle(TopicId topic) {
  if (!is_idle(topic)) return;
  const Topic& it = topics_[topic];
  store_bytes_ -= topic_cost(it.name);
  index_.remove(hash(it.name), topic);
  topics_.remove(topic);
}

bool Topics::mark(TopicId topic) {
  if (topics_[topic].marked_in == round_) return false;
  topics_[topic].marked_in = round_;
  return true;
}

}  // namespace sidekick
