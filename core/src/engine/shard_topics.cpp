// Topics: changes of resources, messages of channels, and what a node has missed of them.
#include "engine/shard_state.hpp"
#include "sidekick/text.hpp"

namespace sidekick::engine {

void Shard::State::run_update(Args args, Values& values) {
  u64 at = stamp(args.size() - 1);
  for (const Bytes topic : args.subspan(1)) {
    data.changes.add(topic, at);
    data.streams.erase_rows(topic, rows);
    publish(topic, std::string(Digits(at++)));
  }
  trim(args[0]);
  values = {std::string(Digits(data.at))};
}

void Shard::State::run_message(Args args, Values& values) {
  const Bytes topic = args[0], text = args[1], history_max = args[3], history_ms = args[4];
  const u64 at = stamp(1);
  const u64 known = data.changes.find(topic);
  data.changes.add(topic, at);
  if (history_max != "0" && history_ms != "0")
    data.streams.add(topic, at,
                     {known != 0 ? known : data.floor, now_ms() + number_of(history_ms), text},
                     number_of(history_max), rows);
  else if (history_max != "0")
    data.streams.remove(topic, rows);
  else
    data.streams.erase_rows(topic, rows);
  publish(topic, compose({Digits(at), " ", text}));
  trim(args[2]);
  values = {std::string(Digits(at))};
}

void Shard::State::run_changed(Args args, Values& values) {
  const Bytes epoch = args[0], asked = args[1];
  values = {std::string(Digits(position()))};
  if (asked.empty()) return;
  u64 since = 0;
  if (asked.front() == '-') {
    const u64 span_us = number_of(asked.substr(1)) * 1000;
    since = now_us - std::min(span_us, now_us);
  } else {
    since = number_of(asked);
  }
  if (data.epoch != epoch || since < data.floor || is_in_future(since)) {
    values.emplace_back("all");
    return;
  }
  for (std::size_t i = 2; i < args.size(); ++i) {
    if (data.changes.find(args[i]) > since) values.emplace_back(Digits(i - 2));
  }
}

void Shard::State::run_history(Args args, Values& values) {
  const Bytes topic = args[0], epoch = args[1];
  const u64 since = number_of(args[2]), bytes_max = number_of(args[3]);
  const Values lost = {std::string(Digits(data.at)), "lost"};
  values = lost;
  if (data.epoch != epoch || is_in_future(since)) return;
  const u32 first = data.streams.first(topic, since);
  // The log has forgotten changes up to its floor, except those of channels that a restore found.
  const u64 known = data.changes.find(topic);
  const bool is_forgotten = since < data.floor && (known == 0 || known > data.restored_to);
  // A message before the first one may be missing, or the log may not reach back so far.
  if (first == none ? is_forgotten : data.streams[first].before > since) return;
  Values found = {lost.front(), "ok"};
  u64 newest = since, bytes = 0;
  for (u32 id = first; id != none; id = data.streams.next(id)) {
    const Streams::Message& message = data.streams[id];
    newest = message.at;
    bytes += message.text.size();
    if (bytes > bytes_max) return;
    found.emplace_back(Digits(newest));
    found.push_back(message.text);
  }
  if (known <= newest) values = std::move(found);  // else the latest message is missing
}

}  // namespace sidekick::engine
