// The nodes of a shard: which are attached, their joined topics, and the messages for each.
#include <algorithm>
#include <utility>

#include "engine/shard_state.hpp"

namespace sidekick::engine {

namespace {

/// Rarely: the node would send the same joins, for which there was no room.
constexpr u32 heard_without_room_max = 4096;

/// Memory of a topic that nodes have joined, and of each join; rounded up.
u64 topic_cost(Bytes name) { return name.size() + 192; }
constexpr u64 join_cost = 16;

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
  state_->add_joins(id, topics);
  return true;
}

bool Shard::leave(Bytes node, std::span<const Bytes> topics) {
  const u32 id = state_->nodes.find(node);
  if (id == none) return false;
  for (const Bytes topic : topics) {
    const TopicId known = state_->topics.find(topic);
    if (known != none) state_->remove_join(id, known);
  }
  // The node has received a message of a topic that it has not joined. The shard asks it only once,
  // as it may leave many topics before it answers.
  State::Node& it = state_->nodes[id];
  if (it.is_open && !std::exchange(it.has_left, true)) state_->publish_to_inbox(node, "joins");
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
  nodes[node].is_open = is_open;
  nodes[node].heard = 0;
  open_count += is_open ? 1 : -1;
}

/// Skips a node that receives all topics: it will send all its joins.
void Shard::State::add_joins(u32 node, std::span<const Bytes> names) {
  for (const Bytes name : names) {
    if (nodes[node].is_open) return;
    const u32 count = topics.count();
    const TopicId topic = topics.intern(name);
    if (topics.count() != count) join_bytes += topic_cost(name);
    if (!topics.subscribe(topic, node)) continue;
    join_bytes += join_cost;
    ++nodes[node].joins;
    while (join_bytes > config.bytes_max / 2) make_room();
  }
}

void Shard::State::remove_join(u32 node, TopicId topic) {
  if (!topics.unsubscribe(topic, node)) return;
  join_bytes -= join_cost;
  --nodes[node].joins;
  if (topics.is_idle(topic)) join_bytes -= topic_cost(topics.name(topic));
  topics.release_if_idle(topic);
}

void Shard::State::leave_all(u32 node) {
  for (TopicId topic = 0; topic < topics.slots().size(); ++topic) remove_join(node, topic);
}

/// Forgets the joins of the node that has most of them. From then on, the node receives all topics,
/// so that it misses nothing.
void Shard::State::make_room() {
  u32 largest = 0;
  for (u32 node = 0; node < nodes.slots().size(); ++node)
    if (nodes[node].joins > nodes[largest].joins) largest = node;
  leave_all(largest);
  set_open(largest, true);
  nodes[largest].heard_max = heard_without_room_max;
  nodes[largest].has_left = true;
}

/// Sends to nodes in the order of their ids. All receivers share one body, which may be large.
void Shard::State::publish(Bytes topic, std::string body) {
  const TopicId id = topics.find(topic);
  std::vector<std::string> receivers, asked;
  if (open_count == 0 && id != none) {
    for (const u32 node : topics.subscribers(id)) receivers.push_back(nodes.slots()[node].name);
  }
  for (u32 node = 0; open_count != 0 && node < nodes.slots().size(); ++node) {
    const std::string& name = nodes.slots()[node].name;
    if (!nodes.slots()[node].is_used) continue;
    Node& it = nodes[node];
    const bool has_joined = id != none && topics.is_subscribed(id, node);
    if (has_joined || it.is_open) receivers.push_back(name);
    if (it.is_open && ++it.heard % it.heard_max == 0) asked.push_back(name);
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
