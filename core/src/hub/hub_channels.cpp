// Messages of channels with an engine. The engine stamps and keeps them, and hands each to every
// hub that has joined the channel, as `<stamp> <message>`. Clients that do not say hello get the
// message as it is. Clients that do get it with the stamp before its closing ` }`.
#include <algorithm>

#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

constexpr Bytes message_end = " }";

/// Anyone who may publish in the engine could send something else, which subscribers would get.
bool is_channel_message(Bytes text) {
  return text.starts_with(channel_message_start) && text.ends_with(message_end) &&
         ion::is_utf8(text);
}

}  // namespace

/// POST /message. It cannot be repeated: the engine may have performed it.
void Hub::State::publish_message(const Message& message, Actions& out) {
  if (fail_if_refused(out)) return;
  if (const Findings* found = findings()) {
    if (found->is_cut) {
      return fail(ErrorCode::engine, "engine connection lost; the message may have been published",
                  out);
    }
    if (found->is_sent) return emit_respond(current.request, 200, ErrorCode::ok, "OK", out);
  }
  const u32 shard = engine.shard_of(topic_name);
  TextArena& text = out.text();
  append_channel_message(text, message);
  const Bytes plain = text.append(message_end).finish();
  if (plain.size() > config.engine_message_bytes_max) {
    const Bytes body = text.write({"Content Too Large: the message has ", Digits(plain.size()),
                                   " bytes; the limit is ", Digits(config.engine_message_bytes_max),
                                   " (engine_message_bytes_max)"})
                           .finish();
    return emit_respond(current.request, 413, ErrorCode::size, body, out);
  }
  if (!await_ready(shard, out) || !may_wait(1, out)) return;
  const Bytes args[] = {text.copy(topic_name), plain,
                        text.write({Digits(config.engine_changes_max)}).finish(),
                        text.write({Digits(config.history_messages_max)}).finish(),
                        text.write({Digits(config.history_ms)}).finish()};
  Call call(Purpose::message, shard);
  call.waiters = {waiter()};
  call_script(std::move(call), "message", args, out);
  findings()->is_sent = true;
}

void Hub::State::deliver(TopicId topic, u64 at, Bytes plain, Actions& out) {
  Interest& it = engine.interest(engine.interest_of(topic));
  it.recovered = std::max(it.recovered, at);
  if (it.is_lost) tell_lost(topic, out);
  emit_publish(topics.subscribers(topic), plain, out);
  if (!topics.hello_subscribers(topic).empty())
    emit_publish(topics.hello_subscribers(topic), stamped(plain, at, out.text()), out);
}

/// For clients that said hello.
Bytes Hub::State::stamped(Bytes plain, u64 at, TextArena& out) {
  out.append(plain.substr(0, plain.size() - message_end.size()));
  append_at(out, at);
  return out.append(message_end).finish();
}

/// A message of a joined channel.
void Hub::State::on_channel_message_of_engine(u32 id, u64 at, Bytes plain, Actions& out) {
  Interest& it = engine.interest(id);
  if (!is_channel_message(plain)) return;
  if (it.is_recovering || it.recoveries != 0)
    engine.buffer(it, at, plain, config.engine_buffer_bytes_max);
  if (!it.is_recovering && at > it.recovered) deliver(it.topic, at, plain, out);
}

/// Returns whether the messages that the client has missed are known, or known to be lost. If not,
/// the current message waits, or fails.
bool Hub::State::await_history(TokenId id, TopicId topic, const Message& message, Actions& out) {
  if (!message.since || !clients.has_session(current.client)) return true;
  if (const Findings* found = findings())
    if (found->is_recovered || found->is_lost) return true;
  // A token never recovers messages older than itself, or a new member would read them. The age of
  // a restored token is not known.
  const Token& token = tokens[id];
  if (token.registered_at == 0) return true;
  const u32 interest = engine.interest_of(topic);
  // With several shards, the two stamps may be of different ones: end_subscribe looks again.
  if (engine.shard_count() == 1 && *message.since < token.registered_at) return true;
  const u32 shard = engine.shard_of(topics.name(topic));
  if (!await_ready(shard, out) || !may_wait(1, out)) return false;
  ++engine.interest(interest).recoveries;
  Call call(Purpose::history, shard);
  await(call, interest);
  call.waiters = {waiter()};
  call.epoch = engine.epoch_of(shard, message.epoch);
  call.since = *message.since;
  call_history(std::move(call), out);
  return false;
}

/// Each answer may be large: only some calls are under way at once, the others wait for them.
void Hub::State::call_history(Call call, Actions& out) {
  call.is_queued = true;
  const Call& queued = engine.begin_call(std::move(call));
  note_recovery(queued);
  engine.shard(queued.shard).histories.push_back(queued.number);
  run_histories(out);
}

/// Of all shards together.
void Hub::State::run_histories(Actions& out) {
  u32 room = std::max(config.engine_buffer_bytes_max / config.engine_recovery_bytes_max, 1u);
  for (const Shard& shard : engine.shards()) room -= shard.histories_under_way;
  for (u32 index = 0; index < engine.shard_count(); ++index) {
    Shard& shard = engine.shard(index);
    const auto count = std::min<std::size_t>(room, shard.histories.size());
    const auto end = shard.histories.begin() + static_cast<std::ptrdiff_t>(count);
    for (auto next = shard.histories.begin(); next != end; ++next)
      run_history(*engine.find_call(*next), out);
    shard.histories.erase(shard.histories.begin(), end);
    shard.histories_under_way += static_cast<u32>(count);
    room -= static_cast<u32>(count);
  }
}

void Hub::State::run_history(Call& call, Actions& out) {
  call.is_queued = false;
  TextArena& text = out.text();
  const Interest& it = engine.interest(call.interests.front());
  const Bytes args[] = {text.copy(topics.name(it.topic)), text.copy(call.epoch),
                        text.write({Digits(call.since)}).finish(),
                        text.write({Digits(config.engine_recovery_bytes_max)}).finish()};
  metrics.count_call(call.purpose);
  out.add(action::EngineRun{call.number, call.shard, "history", out.list(args)});
}

/// Reads `at, ok, (at, text)*`; returns false if messages are lost.
bool Hub::State::read_history(const input::EngineAnswer& in, u64& at,
                              std::vector<Interest::Message>& older) {
  if (in.status != 0 || in.values.size() < 2 || in.values.size() % 2 != 0 || in.values[1] != "ok" ||
      !decode_stamp(in.values[0], at))
    return false;
  for (std::size_t i = 2; i < in.values.size(); i += 2) {
    Interest::Message& message = older.emplace_back();
    if (!decode_stamp(in.values[i], message.at) || !is_channel_message(in.values[i + 1]))
      return false;
    message.text = in.values[i + 1];
  }
  return true;
}

/// The missed messages of one client: those of the engine, then what came here meanwhile.
void Hub::State::on_history(const Call& call, const input::EngineAnswer& in) {
  Interest& it = engine.interest(call.interests.front());
  const bool is_there = it.topic != none && it.recoveries != 0;
  if (parking.has(call.waiters.front())) {
    Findings& found = parking[call.waiters.front().parked].findings;
    found.is_recovered = is_there && !it.is_overflown && read_history(in, found.at, found.missed);
    found.is_lost = !found.is_recovered;
    for (const Interest::Message& message : it.buffered)
      if (found.is_recovered && message.at > found.at) found.missed.push_back(message);
  }
  if (!is_there) return;
  if (--it.recoveries == 0 && !it.is_recovering) engine.clear_buffer(it);
}

/// The channel is joined again after a failure, and has messages that this hub does not have.
void Hub::State::replay(u32 id, Actions& out) {
  const Shard& shard = engine.shard(engine.interest(id).shard);
  Call call(Purpose::replay, engine.interest(id).shard);
  await(call, id);
  call.epoch = shard.epoch;
  call.since = shard.position;
  call_history(std::move(call), out);
}

/// If messages are lost, the clients that said hello are told so.
void Hub::State::on_replayed(const Call& call, const input::EngineAnswer& in, Actions& out) {
  const u32 id = call.interests.front();
  const Interest& it = engine.interest(id);
  end_awaiting(call);
  if (!it.is_recovering) return;
  u64 at = 0;
  std::vector<Interest::Message> older;
  if (read_history(in, at, older)) return end_recovery(id, older, at, out);
  tell_lost(it.topic, out);
  stop_recovery(id, out);
}

void Hub::State::end_recovery(u32 id, std::span<const Interest::Message> older, u64 at,
                              Actions& out) {
  Interest& it = engine.interest(id);
  if (it.is_overflown) tell_lost(it.topic, out);
  for (const Interest::Message& message : older)
    if (message.at > it.recovered)
      deliver(it.topic, message.at, out.text().copy(message.text), out);
  it.recovered = at;
  stop_recovery(id, out);
}

/// Delivers the messages that have waited.
void Hub::State::stop_recovery(u32 id, Actions& out) {
  Interest& it = engine.interest(id);
  if (!std::exchange(it.is_recovering, false)) return;
  for (const Interest::Message& message : it.buffered)
    if (message.at > it.recovered)
      deliver(it.topic, message.at, out.text().copy(message.text), out);
  if (it.recoveries == 0) engine.clear_buffer(it);
}

/// Sends `subscribed` once more to those that said hello, without what they have missed.
void Hub::State::tell_lost(TopicId topic, Actions& out) {
  engine.interest(engine.interest_of(topic)).is_lost = false;
  for (const u32 client : topics.hello_subscribers(topic)) {
    const ClientSlot slot = clients.find(client);
    for (const TokenId id : clients[slot].tokens) {
      if (tokens[id].topic_id != topic) continue;
      TextArena& text = out.text();
      text.write({"{ \"type\": \"subscribed\", \"channel\": ", tokens[id].channel(),
                  ", \"params\": ", tokens[id].params()});
      append_at(text, position());
      emit_to(client, text.write({", \"recovered\": false }"}).finish(), out);
      break;
    }
  }
}

}  // namespace sidekick
