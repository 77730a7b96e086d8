#include "session.hpp"

#include <algorithm>
#include <utility>

#include "errors.hpp"
#include "families.hpp"

namespace sidekick::host {

namespace {

bool is_from_engine(InputTag tag) {
  return tag == InputTag::engine_up || tag == InputTag::engine_down ||
         tag == InputTag::engine_answer || tag == InputTag::engine_message;
}

}  // namespace

Session::Session(SessionIo& io, Log& log, std::unique_ptr<Runtime> hub)
    : io_(io), log_(log), hub_(std::move(hub)) {}

void Session::start() {
  work([this] {
    const Millis now = io_.now();
    if (!restore(now) && !make(now)) throw StartError("a fresh hub trapped immediately; giving up");
  });
}

// --- inputs ---

void Session::apply(const Input& input, const Peer& peer) {
  if (is_applying_)
    waiting_.emplace_back(input, peer);
  else
    work([&] { apply_one(input, peer); });
}

/// Then applies what has come meanwhile.
template <class Work>
void Session::work(Work work) {
  struct Applying {
    bool& is_applying;
    ~Applying() { is_applying = false; }
  } const applying{is_applying_};
  is_applying_ = true;
  work();
  while (!waiting_.empty()) {
    std::list<Waiting> next;  // taken off first: an input whose handling throws is not repeated
    next.splice(next.begin(), waiting_, waiting_.begin());
    apply_one(*next.front().input, next.front().peer);
  }
}

void Session::apply_one(const Input& input, const Peer& peer) {
  const Millis now = io_.now();
  const ClientId opening =
      input.tag == InputTag::client_opened ? input.client_opened.client : ClientId{0};
  if (hub_ == nullptr) {
    if (!make(now, opening)) return io_.fail(peer, NoAnswer::no_hub);
    if (is_from_engine(input.tag)) return;  // from connections that make() has replaced
  }
  try {
    step(now, input, peer);
  } catch (const Trap& trap) {
    recover(trap.what(), now, input, peer);
  }
}

/// One input and all its consequences.
void Session::step(Millis now, const Input& input, const Peer& peer) {
  for (const Action& action : hub_->handle(now, input)) perform(action, peer);
  // After the actions: this call invalidates their views.
  if (io_.is_recording()) record(hub_->recorded());
}

void Session::record(Bytes lines) {
  recorded_bytes_ += lines.size();
  io_.record(lines);
}

std::variant<Verdict, NoAnswer> Session::admit(const input::HttpRequest& request) {
  return ask<Verdict>(request, [&] { return hub_->admit(request); });
}

std::variant<std::string, NoAnswer> Session::metrics(const input::HttpRequest& request) {
  return ask<std::string>(request, [&] {
    std::string text(hub_->metrics());
    append_family(text, HostFamily::sidekick_host_traps_total, static_cast<double>(traps_));
    append_family(text, HostFamily::sidekick_host_recorded_bytes_total,
                  static_cast<double>(recorded_bytes_));
    if (const std::size_t bytes = hub_->memory_bytes(); bytes > 0)
      append_family(text, HostFamily::sidekick_module_memory_bytes, static_cast<double>(bytes));
    return text;
  });
}

std::string Session::snapshot() {
  const std::unique_ptr<Runtime> hub = io_.create_hub();
  const Millis now = io_.now();
  std::string lines(hub->describe());
  lines += "\n";
  hub->record(trace::format_version);
  const auto give = [&](const Input& input) {
    hub->handle(now, input);
    lines += hub->recorded();
  };
  give(input::Begin{epoch_});
  if (latest_forward_ != 0) give(input::Begin{latest_forward_});
  for (const StoredToken& token : io_.stored_tokens())
    give(input::RestoreToken{token.state, token.expires_at, token.key, token.record});
  for (const OpenClient& open : io_.open_clients())
    give(input::RestoreClient{open.client, open.record});
  give(input::Restored{});
  give_stop(now, give);
  return lines;
}

void Session::align_timer() {
  if (drained_at_ == 0) apply(input::TimerFired{});
}

/// About a request, which is no input.
template <class Answer, class Ask>
std::variant<Answer, NoAnswer> Session::ask(const input::HttpRequest& request, Ask answer) {
  retry();
  if (hub_ == nullptr) return NoAnswer::no_hub;
  try {
    return answer();
  } catch (const Trap& trap) {
    work([&] { recover(trap.what(), io_.now(), request, {}); });
    return NoAnswer::trapped;
  }
}

void Session::drain(u32 ms) {
  drained_at_ = io_.now() + ms;
  apply(input::Draining{ms});
}

void Session::shut_down() {
  is_shutting_down_ = true;
  apply(input::ShuttingDown{});
}

// --- actions ---

void Session::perform(const Action& action, const Peer& peer) {
  try {
    perform_one(action, peer);
  } catch (const std::exception& error) {
    // A bug of this host; it must not close every socket.
    log_.error("action failed", {{"action", find_action_shape(static_cast<u32>(action.tag))->name},
                                 {"error", error.what()}});
  }
}

void Session::perform_one(const Action& action, const Peer& peer) {
  switch (action.tag) {
    case ActionTag::put_token:
      note_write(action.put_token.durable != 0, peer, action.put_token.key);
      return io_.put_token(action.put_token);
    case ActionTag::touch_token:
      note_write(action.touch_token.durable != 0, peer);
      return io_.touch_token(action.touch_token);
    case ActionTag::erase_token:
      ++erased_;
      note_write(action.erase_token.durable != 0, peer, action.erase_token.key);
      return io_.erase_token(action.erase_token);
    case ActionTag::attach_client:
      return io_.attach_client(action.attach_client);
    case ActionTag::send:
      return io_.send(action.send);
    case ActionTag::respond:
      return io_.respond(action.respond);
    case ActionTag::forward:
      latest_forward_ = action.forward.forward;
      forwards_.push_back({action.forward.forward, action.forward.timeout_ms,
                           std::string(action.forward.body), peer.client, turn_});
      return io_.end_turn_later();
    case ActionTag::close:
      return io_.close(action.close);
    case ActionTag::set_timer:
      return io_.set_timer(action.set_timer);
    case ActionTag::cancel_forward: {
      const ForwardId forward = action.cancel_forward.forward;
      const auto is_it = [&](const HeldForward& held) { return held.forward == forward; };
      if (drop_held(is_it).empty()) io_.cancel_forward(action.cancel_forward);
      return;
    }
    case ActionTag::engine_run:
      return io_.engine_run(action.engine_run);
    case ActionTag::engine_join:
      return io_.engine_join(action.engine_join);
    case ActionTag::engine_leave:
      return io_.engine_leave(action.engine_leave);
  }
}

// --- the end of a turn ---

void Session::note_write(bool durable, const Peer& peer, Bytes key) {
  has_written_ = true;
  io_.end_turn_later();
  if (durable && peer != Peer()) writers_.push_back({peer, std::string(key)});
}

/// A change that was not stored must not be confirmed: the hub sends an error to the peers that
/// asked for it, and no others notice. Changes that no peer waits for (an expiry, a disconnected
/// client) may be lost.
void Session::commit() {
  const std::string why = io_.commit();
  std::vector<Writer> writers = std::exchange(writers_, {});
  const bool has_written = std::exchange(has_written_, false);
  if (why.empty()) {
    if (has_written && std::exchange(is_storage_failing_, false))
      log_.info("storage has recovered", {{"refused_meanwhile", std::exchange(refused_, 0)}});
    return;
  }
  if (!std::exchange(is_storage_failing_, true))
    log_.error("storage failed; changes are rejected until it recovers", {{"error", why}});
  std::sort(writers.begin(), writers.end());
  writers.erase(std::unique(writers.begin(), writers.end()), writers.end());
  refused_ += writers.size();
  for (const Writer& writer : writers) refuse(writer);
}

void Session::refuse(const Writer& writer) {
  const auto [client, request] = writer.peer;
  io_.withhold(writer.peer);
  const auto is_its = [&, sender = client](const HeldForward& held) {
    return sender != 0 && held.sender == sender;
  };
  const std::vector<ForwardId> unsent = drop_held(is_its);
  apply(input::NotStored{client, request, writer.key});
  for (const ForwardId forward : unsent)
    apply(input::ForwardDone{forward, 0, {}, static_cast<u32>(Outcome::unreachable)});
}

/// Returns those that were dropped.
template <class Is>
std::vector<ForwardId> Session::drop_held(Is is) {
  std::vector<ForwardId> dropped;
  std::erase_if(forwards_, [&](const HeldForward& held) {
    if (!is(held)) return false;
    dropped.push_back(held.forward);
    return true;
  });
  return dropped;
}

/// One that is done at once may cancel others, or cause some, which belong to the next turn.
void Session::start_forwards() {
  const u64 turn = turn_++;
  while (!forwards_.empty() && forwards_.front().turn <= turn) {
    const HeldForward held = std::move(forwards_.front());
    forwards_.pop_front();
    io_.forward({held.forward, held.timeout_ms, held.body});
  }
}

// --- recovery ---

/// The input that trapped will be the next line of the recording, if there is one.
void Session::log_trap(Bytes message, Bytes why) {
  const Bytes input =
      trapped_ ? find_input_shape(static_cast<u32>((*trapped_->input).tag))->name : "none";
  log_.error(message, {{"input", input}, {"recording", io_.recording_place()}, {"error", why}});
}

/// The hub trapped. Closes the client that sent the input, and continues with a new hub restored
/// from the stored records.
void Session::recover(const std::string& why, Millis now, const Input& input, const Peer& peer) {
  trapped_.emplace(now, input);
  log_trap("the hub trapped and is replaced; please report this", why);
  ++traps_;
  hub_.reset();  // first: two at once may need more memory than there is
  io_.set_timer({0});
  io_.fail(peer, NoAnswer::trapped);
  make(now);
}

void Session::retry() {
  if (hub_ == nullptr) work([this] { make(io_.now()); });
}

/// Returns whether there is a hub. opening: the client whose client_opened comes next.
bool Session::make(Millis now, ClientId opening) {
  io_.renew_engine();
  std::erase_if(waiting_, [](const Waiting& it) { return is_from_engine((*it.input).tag); });
  try {
    hub_ = io_.create_hub();
    if (restore(now, opening)) return true;
    // The records themselves cause the trap. Dropping all state is better than serving nobody.
    log_.error(
        "the stored records cannot be restored: dropping all tokens and closing all sockets");
    io_.forget_all();
    hub_ = io_.create_hub();
    return restore(now, opening);
  } catch (const std::exception& error) {
    hub_.reset();
    log_.warn("there is no hub; each input tries again", {{"error", error.what()}});
    return false;
  }
}

/// Returns whether there still is a hub. Throws if what is stored cannot be read.
bool Session::restore(Millis now, ClientId opening) {
  const std::vector<StoredToken> tokens = io_.stored_tokens();
  try {
    if (io_.is_recording()) {
      if (trapped_) record(hub_->record_input(trapped_->now, *trapped_->input));
      record(std::string(hub_->describe()) + "\n");
      hub_->record(trace::format_version);
    }
    trapped_.reset();
    const auto give = [&](const Input& input) { restore_one(now, input); };
    epoch_ = io_.draw_epoch();
    latest_forward_ = 0;
    give(input::Begin{epoch_});
    const u64 erased_before = erased_;
    for (const StoredToken& token : tokens)
      give(input::RestoreToken{token.state, token.expires_at, token.key, token.record});
    const u64 dropped = erased_ - erased_before;
    if (dropped > 0)
      log_.warn("stored tokens were dropped: their records are damaged or exceed a limit",
                {{"tokens", dropped}});
    for (const OpenClient& open : io_.open_clients()) {
      if (open.client != opening) give(input::RestoreClient{open.client, open.record});
    }
    give(input::Restored{});
    const u64 expired = erased_ - erased_before - dropped;
    if (expired > 0) log_.info("stored tokens had expired", {{"tokens", expired}});
    give_stop(now, give);
    return true;
  } catch (const Trap& trap) {
    log_trap("restoring failed", trap.what());
    hub_.reset();
    return false;
  }
}

void Session::restore_one(Millis now, const Input& input) {
  try {
    step(now, input);
  } catch (const Trap&) {
    trapped_.emplace(now, input);
    throw;
  }
}

/// A new hub stops as the last one did.
template <class Give>
void Session::give_stop(Millis now, Give give) {
  if (drained_at_ != 0) {
    const Millis left_ms = drained_at_ > now ? drained_at_ - now : 0;
    give(input::Draining{static_cast<u32>(left_ms)});
  }
  if (is_shutting_down_) give(input::ShuttingDown{});
}

}  // namespace sidekick::host
