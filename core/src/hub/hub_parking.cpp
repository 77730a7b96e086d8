// Frames and requests that wait for the engine. A handler that needs something from the engine
// emits the calls for it, and returns; nothing has changed yet. After the last answer the same
// bytes run again, from the decoder on, and find what they needed: the topics joined, or the
// Findings of their queue.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr char unreachable[] = "engine unreachable; try again (engine_wait_ms)";
constexpr char not_published[] =
    "engine unreachable; nothing was published; try again (engine_wait_ms)";
constexpr char maybe_published[] =
    "engine connection lost; the changes may have been published; try again";

constexpr char not_registered[] =
    "engine unreachable; the token was not registered; try again (engine_wait_ms)";
constexpr char maybe_registered[] =
    "engine connection lost; the token may have been registered; try again";

const char* text_of(Findings::Refused why, bool is_request) {
  switch (why) {
    case Findings::Refused::engine_full:
      return "the engine refused: its memory is full; try again later";
    case Findings::Refused::engine_error:
      return is_request ? "the engine returned an error; see the log of this Sidekick; the request "
                          "may have been processed"
                        : "the engine returned an error; see the log of this Sidekick; try again "
                          "later";
    case Findings::Refused::tokens_max:
      return "token limit reached (tokens_max); try again later";
    case Findings::Refused::token_store:
      return "token store is full (token_store_bytes_max); try again later";
    case Findings::Refused::no:
      break;
  }
  trap();
}

}  // namespace

/// Notes the frame that is being handled. Returns true if it waits behind others of its client, or
/// was refused.
bool Hub::State::has_to_queue(ClientSlot slot, Bytes frame, Actions& out) {
  current = {slot, 0, Route::unknown, now, frame};
  const u32 parked = clients[slot].parked;
  if (parked == none) return false;
  if (may_wait(0, out)) parking.append(parked, {now, std::string(frame)});
  return true;
}

/// Returns whether the shard can be used. If not, the current message waits for it, or has waited
/// too long and fails.
bool Hub::State::await_ready(u32 index, Actions& out) {
  const Shard& shard = engine.shard(index);
  if (shard.is_ready()) return true;
  const Millis until = std::max(current.came_at, shard.down_at) + config.engine_wait_ms;
  if (until <= now) {
    const Findings* found = findings();
    const bool is_token = current.route == Route::connection;
    const bool is_cut = found != nullptr && found->is_cut;
    fail(ErrorCode::engine,
         current.client != none ? unreachable
         : is_token             ? (is_cut ? maybe_registered : not_registered)
                                : (is_cut ? maybe_published : not_published),
         out);
    return false;
  }
  if (!may_wait(0, out)) return false;
  wait_until(until);
  return false;
}

/// The current message waits for no call. It runs again at that time, or when a shard comes back.
void Hub::State::wait_until(Millis at) {
  const u32 id = park();
  Parked& it = parking[id];
  if (it.deadline == none) it.deadline = deadlines.add({at, Due::parked_expiry, it.serial, id});
}

/// Returns whether the current message may wait, for so many calls. If not, it fails.
bool Hub::State::may_wait(u64 calls, Actions& out) {
  const char* refusal = nullptr;
  const u64 cost = Parking::cost_of(current.text);
  const u32 queue = current.client == none ? none : clients[current.client].parked;
  const u64 queued = queue == none ? 0 : parking[queue].bytes;
  // A message alone fits whatever its size, which has a limit of its own.
  const auto is_over = [cost](u64 waits, u64 max) { return waits != 0 && waits + cost > max; };
  if (engine.call_count() + calls > config.engine_calls_max) {
    refusal = "too many calls to the engine are under way (engine_calls_max); try again later";
  } else if (current.client != none && is_over(queued, config.parked_bytes_per_client_max)) {
    refusal =
        "too many messages of this connection wait for the engine (parked_bytes_per_client_max)";
  } else if (is_over(parking.store_bytes(), config.parked_store_bytes_max)) {
    refusal = "too many messages wait for the engine (parked_store_bytes_max); try again later";
  }
  if (refusal != nullptr) fail(ErrorCode::queue, refusal, out);
  return refusal == nullptr;
}

/// The current message waits. Returns its place.
u32 Hub::State::park() {
  if (current.parked == none) {
    current.parked = parking.add(current.client, current.request, current.route);
    parking.append(current.parked, {current.came_at, std::string(current.text)});
    if (current.client != none) clients[current.client].parked = current.parked;
  }
  current.has_to_wait = true;
  // Before it runs again, more messages may be missed: it has to ask for them again.
  Findings& found = *findings();
  found.is_recovered = found.is_lost = false;
  found.missed.clear();
  return current.parked;
}

/// The current message waits for one more call.
Waiter Hub::State::waiter() {
  const u32 id = park();
  ++parking[id].calls;
  return {id, parking[id].serial};
}

/// The findings of the current message, or nullptr if it has not waited yet.
Findings* Hub::State::findings() {
  return current.parked == none ? nullptr : &parking[current.parked].findings;
}

/// One call of each of these waiters has ended.
void Hub::State::end_waiting(std::span<const Waiter> waiters, Actions& out) {
  for (const Waiter& waiter : waiters) {
    if (parking.has(waiter) && --parking[waiter.parked].calls == 0) run_parked(waiter.parked, out);
  }
}

/// Runs the first message of a queue again, and those behind it, until one has to wait.
void Hub::State::run_parked(u32 id, Actions& out) {
  const u64 serial = parking[id].serial;
  do {
    Parked& it = parking[id];
    if (it.deadline != none) deadlines.remove(std::exchange(it.deadline, none));
    const std::vector<u32> held = std::exchange(it.interests, {});
    Parked::Text text = parking.take(id);
    const ClientSlot client = it.client;
    current = {client, it.request, it.route, text.at, text.bytes, id};
    if (client == none) {
      run_request(it.route, it.request, text.bytes, out);
    } else {
      const std::string& wrong = decoder.decode_frame(text.bytes, clients.has_session(client));
      const Message& message = decoder.message();
      if (wrong.empty()) {
        on_message(client, message, out);
      } else {
        emit_refusal(client, Blame::client, message.scope, wrong, decoder.code(), out);
      }
    }
    const bool has_to_wait = current.has_to_wait;
    current = {};
    let_go_of_interests(held);
    if (!parking.has({id, serial})) return;  // its client was closed
    if (has_to_wait) return parking.put_back(id, std::move(text));
    const Findings found = std::exchange(parking[id].findings, {});
    end_claim(found, client, out);
  } while (!parking[id].waiting().empty());
  unpark(id, out);
}

/// A shard has come or gone: all messages that wait for no call run again.
void Hub::State::run_blocked(Actions& out) {
  for (const Waiter& waiter : parking.blocked()) {
    if (parking.has(waiter)) run_parked(waiter.parked, out);
  }
}

void Hub::State::unpark(u32 id, Actions& out) {
  const Parked& it = parking[id];
  end_claim(it.findings, it.client, out);
  if (it.deadline != none) deadlines.remove(it.deadline);
  if (it.client != none) clients[it.client].parked = none;
  const std::vector<u32> held = std::move(parking[id].interests);
  parking.remove(id);
  let_go_of_interests(held);
}

/// Fails the current message if an answer has refused it, and returns whether it did.
bool Hub::State::fail_if_refused(Actions& out) {
  const Findings* found = findings();
  if (found == nullptr || found->refused == Findings::Refused::no) return false;
  const bool is_error = found->refused == Findings::Refused::engine_error;
  fail(is_error ? ErrorCode::engine : ErrorCode::full,
       text_of(found->refused, current.client == none), out);
  return true;
}

/// Tells the sender of the current message that it has failed.
void Hub::State::fail(ErrorCode code, const char* text, Actions& out) {
  const Message& message = decoder.message();
  if (current.client != none) {
    if (message.hello) {
      constexpr Bytes unknown = R"("unknown")";
      return emit_error(current.client, message.id, Blame::sidekick, unknown, "{}", text, code, out,
                        true);
    }
    if (!message.again) return refuse(current.client, Blame::sidekick, text, code, out);
    return refuse(current.client, Blame::sidekick, unknown_outcome, ErrorCode::unknown, out);
  }
  const Bytes body = out.text().write({"Service Unavailable: ", text}).finish();
  emit_respond(current.request, 503, code, body, out, "Retry-After: 1");
}

}  // namespace sidekick
