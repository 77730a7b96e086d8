#include "topics.hpp"

#include <algorithm>

namespace sidekick {

TopicId Topics::find(Bytes name) const {
  return index_.find(hash(name), [&](u32 id) { return topics_[id].name == name; });
}

TopicId Topics::intern(Bytes name) {
  const u64 name_hash = hash(name);
  const u32 found = index_.find(name_hash, [&](u32 id) { return topics_[id].name == name; });
  if (found != none) return found;
  const TopicId topic = topics_.add();
  topics_[topic].name.assign(name);
  index_.add(name_hash, topic);
  name_bytes_ += name.size();
  return topic;
}

bool Topics::subscribe(TopicId topic, u32 client) {
  std::vector<u32>& subscribers = topics_[topic].subscribers;
  // Clients mostly come in ascending order, so this is mostly an append.
  const auto at = std::lower_bound(subscribers.begin(), subscribers.end(), client);
  if (at != subscribers.end() && *at == client) return false;
  subscribers.insert(at, client);
  ++subscription_count_;
  return true;
}

bool Topics::unsubscribe(TopicId topic, u32 client) {
  std::vector<u32>& subscribers = topics_[topic].subscribers;
  const auto at = std::lower_bound(subscribers.begin(), subscribers.end(), client);
  if (at == subscribers.end() || *at != client) return false;
  subscribers.erase(at);
  --subscription_count_;
  return true;
}

bool Topics::is_subscribed(TopicId topic, u32 client) const {
  const std::vector<u32>& subscribers = topics_[topic].subscribers;
  return std::binary_search(subscribers.begin(), subscribers.end(), client);
}

void Topics::release_if_idle(TopicId topic) {
  Topic& it = topics_[topic];
  if (!it.subscribers.empty()) return;
  name_bytes_ -= it.name.size();
  index_.remove(hash(it.name), topic);
  topics_.remove(topic);
}

bool Topics::mark(TopicId topic) {
  if (topics_[topic].marked_in == round_) return false;
  topics_[topic].marked_in = round_;
  return true;
}

}  // namespace sidekick
