#include "engine/streams.hpp"

#include <algorithm>

namespace sidekick::engine {

namespace {

u64 cost_of(const Streams::Message& message) { return message.text.size() + 96; }

}  // namespace

void Streams::add(Bytes topic, u64 at, const MessageRow& message, u64 count_max, Rows& rows) {
  const u32 id = streams_.intern(topic);
  append(id, at, message);
  rows.put_message(topic, at, message);
  while (streams_[id].count > count_max) forget_oldest(id, rows);
  streams_.set_bytes(id, streams_[id].bytes + topic.size() + 160);
}

bool Streams::restore(Bytes topic, u64 at, const MessageRow& message) {
  const u32 id = streams_.intern(topic);
  const u32 newest = streams_[id].newest;
  if (newest != none && messages_[newest].at >= at) return false;
  append(id, at, message);
  streams_.set_bytes(id, streams_[id].bytes + topic.size() + 160);
  return true;
}

void Streams::append(u32 id, u64 at, const MessageRow& message) {
  const u32 slot = messages_.add();
  messages_[slot].at = at;
  messages_[slot].before = message.before;
  messages_[slot].text.assign(message.text);
  Stream& stream = streams_[id];
  (stream.newest == none ? stream.oldest : messages_[stream.newest].next) = slot;
  stream.newest = slot;
  stream.bytes += cost_of(messages_[slot]);
  ++stream.count;
  streams_.expire_at(id, message.expires_at);
}

void Streams::remove(Bytes topic, Rows& rows) {
  const u32 id = streams_.find(topic);
  if (id != none) remove(id, rows);
}

void Streams::expire(Millis now, Rows& rows) {
  for (u32 id = none; (id = streams_.find_expired(now)) != none;) remove(id, rows);
}

void Streams::erase_rows(Bytes topic, Rows& rows) {
  const u32 id = rows.is_on() ? streams_.find(topic) : none;
  if (id == none) return;
  Stream& stream = streams_[id];
  for (u32 slot = stream.oldest; slot != none; slot = messages_[slot].next) {
    if (messages_[slot].at > stream.unstored_to) rows.erase_message(topic, messages_[slot].at);
  }
  stream.unstored_to = messages_[stream.newest].at;
}

std::vector<std::pair<u64, Bytes>> Streams::latest() const {
  std::vector<std::pair<u64, Bytes>> latest;
  for (const auto& slot : streams_.slots()) {
    if (slot.is_used) latest.emplace_back(messages_[slot.value.newest].at, slot.name);
  }
  std::sort(latest.begin(), latest.end());
  return latest;
}

u32 Streams::first(Bytes topic, u64 position) const {
  const u32 id = streams_.find(topic);
  u32 message = id == none ? none : streams_[id].oldest;
  while (message != none && messages_[message].at <= position) message = messages_[message].next;
  return message;
}

void Streams::forget_oldest(u32 id, Rows& rows) {
  Stream& stream = streams_[id];
  const u32 message = stream.oldest;
  if (messages_[message].at > stream.unstored_to)
    rows.erase_message(streams_.slots()[id].name, messages_[message].at);
  stream.bytes -= cost_of(messages_[message]);
  stream.oldest = messages_[message].next;
  if (stream.oldest == none) stream.newest = none;
  --stream.count;
  messages_.remove(message);
}

void Streams::remove(u32 id, Rows& rows) {
  while (streams_[id].count > 0) forget_oldest(id, rows);
  streams_.remove(id);
}

}  // namespace sidekick::engine
