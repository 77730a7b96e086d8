// The nodes of a shard: which are attached, their joined topics, and the messages for each.
#include <algorithm>

#include "engine/shard_state.hpp"

namespace sidekick::engine {

namespace {

/// After each this many messages of topics, the shard asks a node for its joins if it does not know
/// them.
constexpr u32 heard_max = 16;

}  // namespace

void Shard::attach(Bytes node) {
  SIDEKICK_CHECK(!state_->is_restoring);
  if (is_attached(node)) return;
  state_->nodes.intern(node);
  state_->put_node(node);
}

void Shard::detach(Bytes node) {
  SIDEKICK_CHECK(!state_->is_restoring);
  const u32 id = state_->nodes.find(node);
  if (id == none) return;
  state_->set_open(id, false);
  state_->leave_all(id);
  state_->nodes.remove(id);
  state_->put_node(node);
}

bool Shard::join(Bytes node, std::span<const Bytes> topics) {
  const u32 id = state_->nodes.find(node);
  if (id == none) return false;
  for (const Bytes topic : topics) state_->topics.subscribe(state_->topics.intern(topic), id);
  return true;
}

bool Shard::leave(Bytes node, std::span<const Bytes> topics) {
  const u32 id = state_->nodes.find(node);
  if (id == none) return false;
  for (const Bytes topic : topics) {
    const TopicId known = state_->topics.find(topic);
    if (known != none && state_->topics.unsubscribe(known, id))
      state_->topics.release_if_idle(known);
  }
  return true;
}

bool Shard::replace_joins(Bytes node, std::span<const Bytes> topics) {
  const u32 id = state_->nodes.find(node);
  if (id == none) return false;
  state_->set_open(id, false);
  state_->leave_all(id);
  return join(node, topics);
}

std::vector<std::string> Shard::joined(Bytes node) const {
  const u32 id = state_->nodes.find(node);
  std::vector<std::string> names;
  for (TopicId topic = 0; topic < state_->topics.slots().size(); ++topic) {
    if (state_->topics.is_subscribed(topic, id)) names.push_back(state_->topics.name(topic));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Shard::is_attached(Bytes node) const { return state_->nodes.find(node) != none; }

void Shard::State::set_open(u32 node, bool is_open) {
  if (nodes[node].is_open == is_open) return;
  nodes[node] = {.is_open = is_open};
  open_count += is_open ? 1 : -1;
}

void Shard::State::leave_all(u32 node) {
  for (TopicId topic = 0; topic < topics.slots().size(); ++topic) {
    if (topics.unsubscribe(topic, node)) topics.release_if_idle(topic);
  }
}

/// To the nodes in the order of their ids. They share one body, which may be large.
void Shard::State::publish(Bytes topic, std::string body) {
  const TopicId id = topics.find(topic);
  std::vector<std::string> receivers, asked;
  if (open_count == 0 && id != none) {
    for (const u32 node : topics.subscribers(id)) receivers.push_back(nodes.slots()[node].name);
  }
  for (u32 node = 0; open_count != 0 && node < nodes.slots().size(); ++node) {
    const auto& slot = nodes.slots()[node];
    if (!slot.is_used) continue;
    const bool has_joined = id != none && topics.is_subscribed(id, node);
    if (has_joined || slot.value.is_open) receivers.push_back(slot.name);
    if (slot.value.is_open && ++nodes[node].heard % heard_max == 0) asked.push_back(slot.name);
  }
  publish_to(std::move(receivers), topic, std::move(body));
  publish_to(std::move(asked), {}, "joins");
}

void Shard::State::publish_to(std::vector<std::string> receivers, Bytes topic, std::string body) {
  if (receivers.empty()) return;
  publications.push_back({std::move(receivers), std::string(topic), std::move(body)});
}

void Shard::State::publish_to_inbox(Bytes node, std::string body) {
  if (nodes.find(node) != none) publish_to({std::string(node)}, {}, std::move(body));
}

}  // namespace sidekick::engine
