// The engine that several Sidekicks share: docs/architecture.md, "Many hubs". The engine orders
// changes and hands them to every hub that joined their topics. A hub delivers only messages from
// the engine, even those that it published itself. Answers and messages have no common order, so
// nothing here relies on one: a topic takes messages from the moment its join is emitted.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr std::size_t topics_per_call = 256;

/// Removes the first word and the space after it.
Bytes take_word(Bytes& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const Bytes word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

/// The rest of the text is for the log.
Findings::Refused refused_by(const input::EngineAnswer& in) {
  if (in.status == 0) return Findings::Refused::no;
  const bool is_full = !in.values.empty() && in.values[0].starts_with("OOM");
  return is_full ? Findings::Refused::engine_full : Findings::Refused::engine_error;
}

}  // namespace

void Hub::State::on_engine_up(const input::EngineUp& in, Actions& out) {
  if (in.shard >= engine.shard_count()) return;
  Shard& shard = engine.shard(in.shard);
  if (shard.is_up) on_engine_down({in.shard}, out);
  shard.is_up = true;
  if (in.kept != 0 && !config.has_heartbeats()) return resume(in.shard, out);
  sync(in.shard, out);
}

/// The engine may have performed the calls under way or not. The messages that waited for them run
/// again, and wait for the engine to come back.
void Hub::State::on_engine_down(const input::EngineDown& in, Actions& out) {
  if (in.shard >= engine.shard_count() || !engine.shard(in.shard).is_up) return;
  Shard& shard = engine.shard(in.shard);
  if (shard.deadline != none) deadlines.remove(shard.deadline);
  if (shard.reclaim_deadline != none) deadlines.remove(shard.reclaim_deadline);
  const Shard before = std::move(shard);
  shard = {};
  shard.down_at = before.is_synced ? now : before.down_at;
  shard.epoch = before.epoch;
  shard.server = before.server;
  shard.top = before.top;
  shard.position = before.position;
  shard.is_all_changed = before.is_all_changed;  // some listeners are not told yet
  shard.releases = before.releases;
  shard.handed = before.handed;

  for (u32 slot = 0; slot < engine.calls().size(); ++slot) {
    const u32 number = engine.calls()[slot].number;
    if (number == 0 || engine.calls()[slot].shard != in.shard) continue;
    const Call call = engine.end_call(number);
    if (call.purpose == Purpose::claim) on_claim_cut(call);
    if (call.purpose == Purpose::erase) on_erase_cut(call);
    if (call.purpose == Purpose::reclaim) on_reclaim_cut(call);
    if (call.purpose == Purpose::hand_over) shard.handed.push_back(call.handed);
    for (std::size_t i = 0; i < call.tokens.size() && call.purpose == Purpose::release; ++i)
      release_claim(call.tokens[i], call.sessions[i], call.keep_ms);
    for (const Waiter& waiter : call.waiters) {
      if (!parking.has(waiter)) continue;
      Parked& it = parking[waiter.parked];
      --it.calls;
      it.findings.is_cut = it.findings.is_sent;
      it.findings.is_asked = false;
      it.findings.is_recovered = it.findings.is_lost = false;
      it.findings.missed = {};
    }
  }
  // A topic that is joined again may have changed since another shard was asked.
  for (u32 id = 0; id < parking.slots().size(); ++id) {
    Parked& it = parking[id];
    const auto is_left = [&](u32 held) { return engine.interest(held).shard == in.shard; };
    if (std::erase_if(it.interests, is_left) != 0) it.findings.is_asked = false;
  }
  for (u32 id = 0; id < engine.interests().size(); ++id) {
    Interest& it = engine.interest(id);
    if (it.topic == none || it.shard != in.shard) continue;
    it.state = Interest::State::wanted;
    it.recoveries = it.awaited = 0;
    it.is_recovering = false;
    engine.clear_buffer(it);
    if (it.deadline != none) deadlines.remove(std::exchange(it.deadline, none));
    release_topic(it.topic);
  }
  run_histories(out);
  run_blocked(out);
}

void Hub::State::on_engine_answer(const input::EngineAnswer& in, Actions& out) {
  const Call* asked = engine.find_call(in.call);
  if (asked == nullptr || asked->is_queued) return;
  const Call call = engine.end_call(in.call);
  take_answer(call, in, out);
  // Without the missed messages, the others continue, and the clients are told so.
  const bool is_needed = call.purpose != Purpose::catch_up && call.purpose != Purpose::history &&
                         call.purpose != Purpose::replay;
  for (const Waiter& waiter : call.waiters) {
    if (in.status != 0 && is_needed && parking.has(waiter))
      parking[waiter.parked].findings.refused = refused_by(in);
  }
  if (is_in_doubt(call, in, out) && confirm(call, out)) return;
  end_waiting(call.waiters, out);
  release_interests(call);
}

void Hub::State::take_answer(const Call& call, const input::EngineAnswer& in, Actions& out) {
  Shard& shard = engine.shard(call.shard);
  note_top(call, in);
  switch (call.purpose) {
    case Purpose::sync:
      return on_synced(call.shard, in, out);
    case Purpose::join:
      return on_joined(call, in.status == 0);
    case Purpose::rejoin:
      on_joined(call, in.status == 0);
      return catch_up(call, in.status == 0, out);
    case Purpose::catch_up:
      return on_caught_up(call, in, out);
    case Purpose::changed:
      return on_changed(call, in);
    case Purpose::claim:
      return on_claimed(call, in, out);
    case Purpose::erase:
      return on_erased(call, in, out);
    case Purpose::reclaim:
      return on_reclaimed(call, in, out);
    case Purpose::history:
      on_history(call, in);
      end_awaiting(call);
      --shard.histories_under_way;
      return run_histories(out);
    case Purpose::replay:
      on_replayed(call, in, out);
      --shard.batches;
      --shard.histories_under_way;
      run_histories(out);
      return rejoin(call.shard, out);
    case Purpose::release:
      return;
    case Purpose::hand_over:
      return on_handed_over(call, in, out);
    case Purpose::add:
      return on_registered(call, in);
    case Purpose::message:
    case Purpose::update:
      return;
  }
}

/// The answers of these scripts have the latest stamp. If the engine comes back with data that ends
/// before it, something is lost.
void Hub::State::note_top(const Call& call, const input::EngineAnswer& in) {
  std::size_t place = 0;
  switch (call.purpose) {
    case Purpose::message:
    case Purpose::update:
    case Purpose::history:
    case Purpose::replay:
      break;
    case Purpose::claim:
      place = 3;
      break;
    default:
      return;
  }
  u64 at = 0;
  if (in.status != 0 || in.values.size() <= place || !decode_stamp(in.values[place], at)) return;
  Shard& shard = engine.shard(call.shard);
  shard.top = std::max(shard.top, at);
}

/// Releases the topics of these that nobody wants any more.
void Hub::State::release_interests(const Call& call) {
  for (const u32 id : call.interests) {
    const TopicId topic = engine.interest(id).topic;
    if (topic != none) release_topic(topic);
  }
}

/// A message that waits for several answers needs all its topics joined when the last one comes.
void Hub::State::hold_interests(std::span<const TopicId> wanted) {
  Parked& it = parking[current.parked];
  for (const TopicId topic : wanted) {
    const u32 id = engine.want(topic, topics.name(topic));
    ++engine.interest(id).awaited;
    it.interests.push_back(id);
  }
}

void Hub::State::let_go_of_interests(std::span<const u32> interests) {
  for (const u32 id : interests) {
    --engine.interest(id).awaited;
    release_topic(engine.interest(id).topic);
  }
}

/// The topic is not left until this call is answered: it would miss messages that come meanwhile.
void Hub::State::await(Call& call, u32 id) {
  ++engine.interest(id).awaited;
  call.interests.push_back(id);
}

void Hub::State::end_awaiting(const Call& call) {
  for (const u32 id : call.interests) --engine.interest(id).awaited;
}

void Hub::State::on_joined(const Call& call, bool is_done) {
  for (const u32 id : call.interests) {
    Interest& it = engine.interest(id);
    if (it.topic == none || it.call != call.number) continue;  // left meanwhile
    it.state = is_done ? Interest::State::joined : Interest::State::wanted;
    it.call = 0;
  }
}

/// The answers for one shard come in the order of their topics.
void Hub::State::on_changed(const Call& call, const input::EngineAnswer& in) {
  u64 at = 0;
  const bool is_known = in.status == 0 && !in.values.empty() && decode_stamp(in.values[0], at);
  for (const Waiter& waiter : call.waiters) {
    if (!parking.has(waiter)) continue;
    Findings& found = parking[waiter.parked].findings;
    Findings::Changes& known = found.changes[call.shard];
    known.at = std::min(known.at, is_known ? at : engine.shard(call.shard).position);
    found.is_all_changed = found.is_all_changed || !is_known;
    u64 place_min = 0;
    for (const Bytes value : in.values.subspan(is_known ? 1 : in.values.size())) {
      u64 place = 0;
      if (decode_stamp(value, place) && place >= place_min && place < call.count) {
        known.places.push_back(call.first + static_cast<u32>(place));
        place_min = place + 1;
      } else {
        found.is_all_changed = true;
      }
    }
  }
}

/// A message of a topic: `<stamp>` or `<stamp> <text>`.
void Hub::State::on_engine_message(const input::EngineMessage& in, Actions& out) {
  if (in.shard >= engine.shard_count() || !engine.shard(in.shard).is_up) return;
  if (in.topic.empty()) return on_inbox(in.shard, in.body, out);
  Bytes body = in.body;
  u64 at = 0;
  if (!decode_stamp(take_word(body), at)) return;  // not from a hub
  Shard& shard = engine.shard(in.shard);
  shard.top = std::max(shard.top, at);
  shard.received = std::max(shard.received, at);
  if (!shard.is_resyncing) shard.position = std::max(shard.position, at);
  const TopicId topic = topics.find(in.topic);
  const u32 id = topic == none ? none : engine.interest_of(topic);
  if (id == none && !config.has_heartbeats()) leave(in.shard, in.topic, out);
  if (id == none || engine.interest(id).state == Interest::State::wanted) return;
  Interest& it = engine.interest(id);
  it.received = std::max(it.received, at);
  if (body.empty()) {
    tell_changed(topic, out);
  } else if (!is_resource(in.topic)) {
    on_channel_message_of_engine(id, at, body, out);
  }
}

/// Heartbeats and hints. A hint may be late, so it only causes a call, and the answer counts.
void Hub::State::on_inbox(u32 index, Bytes body, Actions& out) {
  Shard& shard = engine.shard(index);
  const Bytes kind = take_word(body);
  if (kind == "asked" || kind == "taken") {
    const Bytes session = take_word(body);
    return on_hint(index, kind == "taken", session, body, out);
  }
  if (kind == "joins") return tell_joins(index, out);
  if (kind != "beat") return;
  take_word(body);  // its number, which is for the host
  const Bytes had = take_word(body);
  u64 at = 0;
  if (!decode_stamp(take_word(body), at)) return;
  // Every message up to `at` came before this one.
  shard.received = std::max(shard.received, at);
  if (!shard.is_resyncing) shard.position = std::max(shard.position, at);
  if (shard.needs_sync || (shard.is_synced && body != shard.epoch)) {
    sync(index, out);
  } else if (had == "0" && shard.is_synced) {
    // The lease had expired: others may have taken tokens, also those of a claim under way.
    engine.doubt_calls(index);
    reclaim(index, out);
  }
}

/// POST /resources: one call for up to topics_per_call topics. If the engine goes away, all calls
/// are repeated when it is back, so clients may be told of a change twice.
void Hub::State::publish_changes(Actions& out) {
  if (fail_if_refused(out)) return;
  if (const Findings* found = findings(); found != nullptr && found->is_sent && !found->is_cut)
    return emit_respond(current.request, 200, ErrorCode::ok, "OK", out);
  struct Run {
    u32 shard;
    std::vector<Bytes> args;
  };
  std::vector<Run> runs;
  std::vector<u32> run_of(engine.shard_count(), none);
  const Bytes changes_max = out.text().write({Digits(config.engine_changes_max)}).finish();
  topics.begin_marks();
  listened.clear();
  for (const Bytes resource : decoder.message().resources) {
    name_resource_topic(topic_name, resource);
    const TopicId topic = topics.intern(topic_name);
    if (!topics.mark(topic)) continue;
    listened.push_back(topic);
    const u32 shard = engine.shard_of(topic_name);
    u32& run = run_of[shard];
    if (run == none || runs[run].args.size() > topics_per_call) {
      run = static_cast<u32>(runs.size());
      runs.push_back({shard, {changes_max}});
    }
    runs[run].args.push_back(out.text().copy(topic_name));
  }
  for (const TopicId topic : listened) release_topic(topic);

  if (runs.empty()) return emit_respond(current.request, 200, ErrorCode::ok, "OK", out);
  for (u32 shard = 0; shard < engine.shard_count(); ++shard)
    if (run_of[shard] != none && !await_ready(shard, out)) return;
  if (!may_wait(runs.size(), out)) return;
  for (const Run& run : runs) {
    Call call(Purpose::update, run.shard);
    call.waiters = {waiter()};
    call_script(std::move(call), "update", run.args, out);
  }
  findings()->is_sent = true;
  findings()->is_cut = false;
}

/// Returns whether this hub has joined all these topics and has delivered the messages before. If
/// not, the current message waits, or fails.
bool Hub::State::await_joins(std::span<const TopicId> wanted, Actions& out) {
  const auto is_there = [this](TopicId topic) {
    const u32 id = engine.interest_of(topic);
    return id != none && engine.interest(id).state == Interest::State::joined &&
           !engine.interest(id).is_recovering;
  };
  u64 calls = 0;
  std::vector<bool> is_needed(engine.shard_count());
  bool has_all = true;
  for (const TopicId topic : wanted) {
    if (is_there(topic)) continue;
    has_all = false;
    const u32 shard = engine.shard_of(topics.name(topic));
    calls += is_needed[shard] ? 0 : 1;
    is_needed[shard] = true;
  }
  if (has_all) return true;
  if (fail_if_refused(out)) return false;
  for (u32 shard = 0; shard < engine.shard_count(); ++shard)
    if (is_needed[shard] && !await_ready(shard, out)) return false;
  if (!may_wait(calls, out)) return false;

  park();
  hold_interests(wanted);
  std::vector<Call> joins(engine.shard_count());
  std::vector<Call> rejoins(engine.shard_count());
  for (const TopicId topic : wanted) {
    if (is_there(topic)) continue;
    const u32 id = engine.interest_of(topic);
    const Interest& it = engine.interest(id);
    if (it.state == Interest::State::wanted) {
      // Clients that listened before the engine was away may have missed something.
      (topics.is_idle(topic) ? joins : rejoins)[it.shard].interests.push_back(id);
      continue;
    }
    Call& call = *engine.find_call(it.call);
    const bool waits_already = !call.waiters.empty() && parking.has(call.waiters.back()) &&
                               call.waiters.back().parked == current.parked;
    if (!waits_already) call.waiters.push_back(waiter());
  }
  for (u32 shard = 0; shard < engine.shard_count(); ++shard) {
    if (!joins[shard].interests.empty()) {
      joins[shard].shard = shard;
      joins[shard].purpose = Purpose::join;
      joins[shard].waiters.push_back(waiter());
      call_join(std::move(joins[shard]), out);
    }
    if (!rejoins[shard].interests.empty()) {
      rejoins[shard].shard = shard;
      rejoins[shard].waiters.push_back(waiter());
      call_rejoin(std::move(rejoins[shard]), out);
    }
  }
  return false;
}

/// Returns whether this hub knows which of the resources in `looked_up` have changed. If not, the
/// current message waits, or fails.
bool Hub::State::await_changed(std::span<const TopicId> wanted, const Message& message,
                               Actions& out) {
  if (looked_up.empty()) return true;
  if (const Findings* found = findings(); found != nullptr && found->is_asked) return true;
  std::vector<std::vector<Bytes>> of_shard(engine.shard_count());
  u64 calls = 0;
  for (const LookedUp& it : looked_up) {
    std::vector<Bytes>& of = of_shard[engine.shard_of(topics.name(it.topic))];
    if (of.size() % topics_per_call == 0) ++calls;
    of.push_back(out.text().copy(topics.name(it.topic)));
  }
  for (u32 shard = 0; shard < of_shard.size(); ++shard)
    if (!of_shard[shard].empty() && !await_ready(shard, out)) return false;
  if (!may_wait(calls, out)) return false;
  park();
  hold_interests(wanted);
  findings()->is_asked = true;
  findings()->is_all_changed = false;
  findings()->changes.assign(engine.shard_count(), {});
  for (u32 shard = 0; shard < of_shard.size(); ++shard) {
    const std::span<const Bytes> of = of_shard[shard];
    findings()->changes[shard].at = of.empty() ? engine.position_of(shard) : number_max;
    for (std::size_t first = 0; first < of.size(); first += topics_per_call) {
      TextArena& text = out.text();
      const Bytes epoch = text.copy(message.since ? engine.epoch_of(shard, message.epoch)
                                                  : Bytes(engine.shard(shard).epoch));
      const Bytes since = message.since
                              ? text.write({Digits(*message.since)}).finish()
                              : text.write({"-", Digits(config.listen_lookback_ms)}).finish();
      std::vector<Bytes> args{epoch, since};
      const auto part = of.subspan(first, std::min(topics_per_call, of.size() - first));
      args.insert(args.end(), part.begin(), part.end());
      Call call(Purpose::changed, shard);
      call.first = static_cast<u32>(first);
      call.count = static_cast<u32>(part.size());
      call.waiters = {waiter()};
      call_script(std::move(call), "changed", args, out);
    }
  }
  return false;
}

/// Includes changes since the answer of the engine: this hub has their messages, or will get them.
Hub::State::Lookback Hub::State::look_back_in_engine(const Message& message) {
  const Findings* found = findings();
  if (found == nullptr || !found->is_asked)
    return {message.since && message.epoch == engine.epoch(), position()};
  u64 at = number_max;
  for (const Findings::Changes& known : found->changes) at = std::min(at, known.at);
  std::vector<u32> place(engine.shard_count());  // of the next topic of each shard
  std::vector<std::size_t> next(engine.shard_count());
  for (const LookedUp& it : looked_up) {
    const u32 shard = engine.shard_of(topics.name(it.topic));
    const Findings::Changes& known = found->changes[shard];
    const bool is_listed =
        next[shard] < known.places.size() && known.places[next[shard]] == place[shard];
    if (is_listed) ++next[shard];
    ++place[shard];
    const u32 id = engine.interest_of(it.topic);
    const bool has_changed_since = id != none && engine.interest(id).received > known.at;
    if (is_listed || has_changed_since || found->is_all_changed) missed.push_back(it.resource);
  }
  const bool is_recovered = message.since && !found->is_all_changed;
  if (message.since && !is_recovered) missed.clear();  // `"recovered": false` covers them
  return {is_recovered, at};
}

/// An idle topic stays joined for topic_linger_ms. One that is not joined is released at once.
void Hub::State::linger(TopicId topic) {
  if (!topics.is_idle(topic)) return;
  const u32 id = engine.interest_of(topic);
  if (id != none &&
      (engine.interest(id).state == Interest::State::joining || engine.interest(id).awaited != 0))
    return;  // on_engine_answer releases it
  if (id != none && engine.interest(id).state == Interest::State::joined) {
    Interest& it = engine.interest(id);
    // Ranked by id, not by name: tell_all goes by the order of the slots, and a redacted recording
    // has other names. No restore has lingering topics.
    if (it.deadline == none)
      it.deadline = deadlines.add({now + config.topic_linger_ms, Due::topic_linger, id, id});
    return;
  }
  if (id != none) {
    const u32 deadline = engine.interest(id).deadline;
    if (deadline != none) deadlines.remove(deadline);
    engine.forget(id);
  }
  topics.release_if_idle(topic);
}

void Hub::State::end_linger(u32 id, Actions& out) {
  Interest& it = engine.interest(id);
  deadlines.remove(std::exchange(it.deadline, none));
  if (!topics.is_idle(it.topic) || it.awaited != 0) return;
  leave(it.shard, topics.name(it.topic), out);
  const TopicId topic = it.topic;
  engine.forget(id);
  topics.release_if_idle(topic);
}

void Hub::State::leave(u32 shard, Bytes topic, Actions& out) {
  const Bytes name = out.text().copy(topic);
  out.add(action::EngineLeave{shard, out.list({&name, 1})});
}

u32 Hub::State::call_script(Call call, Bytes script, std::span<const Bytes> args, Actions& out) {
  const u32 shard = call.shard;
  metrics.count_call(call.purpose);
  const u32 number = engine.begin_call(std::move(call)).number;
  out.add(action::EngineRun{number, shard, script, out.list(args)});
  return number;
}

void Hub::State::call_join(Call call, Actions& out) {
  const u32 shard = call.shard;
  metrics.count_call(call.purpose);
  const Call& under_way = engine.begin_call(std::move(call));
  std::vector<Bytes> joined;
  for (const u32 id : under_way.interests) {
    Interest& it = engine.interest(id);
    it.state = Interest::State::joining;
    it.call = under_way.number;
    joined.push_back(out.text().copy(topics.name(it.topic)));
  }
  out.add(action::EngineJoin{under_way.number, shard, out.list(joined)});
}

}  // namespace sidekick
