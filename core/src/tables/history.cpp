#include "tables/history.hpp"

namespace sidekick {

void History::join(u64 hash, Bytes topic, u64 position) {
  u32 id = find(hash, topic);
  if (id == none) {
    id = records_.add();
    Record& record = records_[id];
    record.hash = hash;
    record.topic.assign(topic);
    record.floor = position;
    bytes_ += cost_of(record);
    index_.add(hash, id);
  }
  if (records_[id].is_left) left_.remove(records_, id);
  records_[id].is_left = false;
}

void History::leave(u64 hash, Bytes topic, u64 position) {
  const u32 id = find(hash, topic);
  records_[id].is_left = true;
  records_[id].left_at = position;
  left_.append(records_, id);
  shrink();
}

void History::expire(u64 position) {
  while (!left_.empty() && records_[left_.oldest()].left_at < position) erase(left_.oldest());
  while (!all_.empty() && messages_[all_.oldest()].at < position)
    forget_oldest(messages_[all_.oldest()].record);
}

void History::add(u32 record_id, u64 at, Bytes text) {
  const u32 id = messages_.add();
  Message& message = messages_[id];
  message.at = at;
  message.record = record_id;
  message.text = std::string(text);
  all_.append(messages_, id);
  Record& record = records_[record_id];
  (record.count == 0 ? record.oldest : messages_[record.newest].next) = id;
  record.newest = id;
  ++record.count;
  bytes_ += cost_of(message);

  if (record.count > config_.history_messages_max) forget_oldest(record_id);
  shrink();
}

void History::shrink() {
  while (bytes_ > config_.history_bytes_max) {
    if (!all_.empty()) {
      forget_oldest(messages_[all_.oldest()].record);
    } else if (!left_.empty()) {
      erase(left_.oldest());
    } else {
      break;  // what is left is bounded by the tokens that are subscribed
    }
  }
}

u32 History::first(u32 record, u64 position) const {
  u32 id = records_[record].oldest;
  while (id != none && messages_[id].at <= position) id = messages_[id].next;
  return id;
}

u32 History::find_record(u64 hash, Bytes topic) const {
  return index_.find(hash, [&](u32 id) { return records_[id].topic == topic; });
}

void History::forget_oldest(u32 record_id) {
  Record& record = records_[record_id];
  const u32 id = record.oldest;
  record.floor = messages_[id].at;  // a client at this position has not missed it
  record.oldest = messages_[id].next;
  --record.count;
  bytes_ -= cost_of(messages_[id]);
  all_.remove(messages_, id);
  messages_.remove(id);
}

void History::erase(u32 record_id) {
  while (records_[record_id].count > 0) forget_oldest(record_id);
  bytes_ -= cost_of(records_[record_id]);
  index_.remove(records_[record_id].hash, record_id);
  left_.remove(records_, record_id);
  records_.remove(record_id);
}

}  // namespace sidekick
