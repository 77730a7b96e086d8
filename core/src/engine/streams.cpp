#include "engine/streams.hpp"

namespace sidekick::engine {

namespace {

u64 cost_of(const Streams::Message& message) { return message.text.size() + 96; }

}  // namespace

void Streams::add(Bytes topic, u64 at, u64 before, Bytes text, u64 count_max, Millis expires_at) {
  const u32 id = streams_.intern(topic);
  Stream& stream = streams_[id];
  const u32 message = messages_.add();
  messages_[message].at = at;
  messages_[message].before = before;
  messages_[message].text.assign(text);
  (stream.newest == none ? stream.oldest : messages_[stream.newest].next) = message;
  stream.newest = message;
  stream.bytes += cost_of(messages_[message]);
  ++stream.count;
  while (stream.count > count_max) forget_oldest(stream);
  streams_.set_bytes(id, stream.bytes + topic.size() + 160);
  streams_.expire_at(id, expires_at);
}

void Streams::remove(Bytes topic) {
  const u32 id = streams_.find(topic);
  if (id != none) remove(id);
}

void Streams::expire(Millis now) {
  for (u32 id = none; (id = streams_.find_expired(now)) != none;) remove(id);
}

u32 Streams::first(Bytes topic, u64 position) const {
  const u32 id = streams_.find(topic);
  u32 message = id == none ? none : streams_[id].oldest;
  while (message != none && messages_[message].at <= position) message = messages_[message].next;
  return message;
}

void Streams::forget_oldest(Stream& stream) {
  const u32 message = stream.oldest;
  stream.bytes -= cost_of(messages_[message]);
  stream.oldest = messages_[message].next;
  if (stream.oldest == none) stream.newest = none;
  --stream.count;
  messages_.remove(message);
}

void Streams::remove(u32 id) {
  while (streams_[id].count > 0) forget_oldest(streams_[id]);
  streams_.remove(id);
}

}  // namespace sidekick::engine
