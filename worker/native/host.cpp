#include "host.hpp"

#include <algorithm>

#include "clock.hpp"
#include "errors.hpp"

namespace sidekick::host {

namespace {

/// Up to this many bytes over the frame limit, the hub answers with a clear error; beyond that, the
/// socket is closed with 1009.
constexpr std::size_t frame_bytes_over_max = 64 * 1024;
constexpr unsigned silent_rounds_max = 2;
constexpr u32 token_free = 0;  // border.def: held tokens have another state
/// A deadline far in the future must not overflow the clock's numbers. A timer that fires early is
/// set again.
constexpr u64 timer_ms_max = 24 * 60 * 60 * 1000;

const Buffer::Ptr& ping_frame() {
  static const Buffer::Ptr frame = control_frame(opcode_ping, {});
  return frame;
}

std::string_view name_of(const Input* input) {
  return input == nullptr ? "none" : find_input_shape(static_cast<u32>(input->tag))->name;
}

u32 saturated(std::size_t size) {
  return static_cast<u32>(std::min<std::size_t>(size, 0xffffffff));
}

}  // namespace

std::vector<std::shared_ptr<ClientSocket>> Clients::all() const {
  std::vector<std::shared_ptr<ClientSocket>> sockets;
  sockets.reserve(count_);
  for (const auto& socket : places_) {
    if (socket != nullptr) sockets.push_back(socket);
  }
  std::sort(sockets.begin(), sockets.end(),
            [](const auto& a, const auto& b) { return a->client < b->client; });
  return sockets;
}

Host::Host(Loop& loop, std::unique_ptr<Runtime> runtime, HostOptions options)
    : loop_(loop),
      options_(std::move(options)),
      log_(options_.log),
      runtime_(std::move(runtime)),
      limits_(limits_of(*runtime_)),
      rules_{*this, limits_.frame_bytes_max + frame_bytes_over_max,
             limits_.client_buffer_bytes_max},
      timer_(loop.context().get_executor()),
      tick_(loop.context().get_executor()) {
  loop_.before_writes = [this] { commit(); };
  loop_.after_writes = [this] { start_forwards(); };
  tick_later();
}

Host::~Host() {
  loop_.before_writes = [] {};
  loop_.after_writes = [] {};
}

void Host::start() {
  if (options_.tokens.all().empty()) return start_recording();
  const Millis at = now_ms();
  // This instance has had no input, so it serves as the first one.
  if (!restore(at, nullptr)) remake(at, nullptr);
}

// --- inputs ---

void Host::apply(const Input& input, Sender sender) {
  sender_ = std::move(sender);
  const Millis at = now_ms();
  try {
    perform(runtime_->handle(at, input));
    write_recorded();
  } catch (const Trap& trap) {
    recover(trap.what(), at, &input, sender_);
  }
  sender_ = {};
}

u32 Host::body_bytes_max(Bytes method, Bytes path, Bytes authorization) {
  try {
    return runtime_->body_bytes_max(method, path, authorization);
  } catch (const Trap& trap) {
    recover(trap.what(), now_ms(), nullptr, {});
    return 0;
  }
}

void Host::on_request(HttpSession& session, const input::HttpRequest& request) {
  input::HttpRequest input = request;
  input.request = next_request_++;
  if (next_request_ == 0) next_request_ = 1;
  answered_request_ = input.request;
  const auto kept = std::static_pointer_cast<HttpSession>(session.shared_from_this());
  apply(input, {0, kept});
  answered_request_ = 0;
}

void Host::on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) {
  const ClientId client = clients_.choose();
  if (log_.has(LogLevel::debug))
    log_.debug("socket opened", {{"client", client}, {"remote", stream.remote_address()}});
  const auto socket = std::make_shared<ClientSocket>(loop_, std::move(stream), rules_, client);
  clients_.add(socket);
  socket->send(handshake);
  apply(input::ClientOpened{client}, {client, nullptr});
  socket->start(rest);
}

void Host::on_refused(std::string_view path, const std::string& remote) {
  log_.warn("rejected a request with a missing or wrong secret",
            {{"path", path}, {"remote", remote}});
}

void Host::on_message(ClientSocket& socket, std::string_view bytes) {
  apply(input::ClientFrame{socket.client, bytes}, {socket.client, nullptr});
}

void Host::on_closed(ClientSocket& socket, u16 code, const std::string& why) {
  const ClientId client = socket.client;
  if (code == close_abnormal && !why.empty())
    log_.debug("socket error", {{"client", client}, {"error", why}});
  log_.debug("socket closed", {{"client", client}, {"code", code}});
  const auto kept = socket.shared_from_this();
  if (clients_.erase(client)) apply(input::ClientClosed{client});
}

void Host::on_lagging(ClientSocket& socket, std::size_t buffered_bytes) {
  apply(input::ClientLagging{socket.client, saturated(buffered_bytes)}, {socket.client, nullptr});
}

void Host::shut_down() {
  is_shutting_down_ = true;
  apply(input::ShuttingDown{});
}

// --- actions ---

void Host::perform(std::span<const Action> actions) {
  for (const Action& action : actions) {
    try {
      perform_one(action);
    } catch (const Trap&) {
      throw;
    } catch (const std::exception& error) {
      // A bug of this host; it must not close every socket.
      log_.error("action failed",
                 {{"action", find_action_shape(static_cast<u32>(action.tag))->name},
                  {"error", error.what()}});
    }
  }
}

void Host::perform_one(const Action& action) {
  switch (action.tag) {
    case ActionTag::put_token:
      options_.tokens.put(action.put_token);
      return note_write();
    case ActionTag::touch_token:
      // A token that was not stored at registration cannot be taken.
      if (!options_.tokens.touch(action.touch_token) && action.touch_token.state != token_free)
        unstored_.push_back(sender_);
      return note_write();
    case ActionTag::erase_token:
      options_.tokens.erase(action.erase_token);
      return note_write();
    case ActionTag::attach_client:
      if (ClientSocket* socket = clients_.find(action.attach_client.client)) {
        if (action.attach_client.append == 0) socket->record.clear();
        socket->record += action.attach_client.record;
      }
      return;
    case ActionTag::send:
      return send(action.send);
    case ActionTag::respond:
      if (action.respond.request == answered_request_ && sender_.session != nullptr)
        sender_.session->respond(action.respond);
      return;
    case ActionTag::forward:
      forwards_.push_back({action.forward.forward, generation_, std::string(action.forward.body),
                           action.forward.timeout_ms, sender_.client});
      return loop_.end_turn_later();
    case ActionTag::close:
      return close(action.close);
    case ActionTag::set_timer:
      return set_timer(action.set_timer.at_ms);
  }
}

void Host::send(const action::Send& action) {
  Buffer::Ptr frame;
  for (const ClientId client : action.clients) {
    ClientSocket* socket = clients_.find(client);
    if (socket == nullptr || socket->is_ending()) continue;
    if (frame == nullptr) frame = text_frame(action.text);
    socket->send(frame);
  }
}

void Host::close(const action::Close& action) {
  const Log::Fields fields = {
      {"client", action.client}, {"code", action.code}, {"reason", action.reason}};
  if (action.code == close_try_again_later)
    log_.warn("the Sidekick closes a socket", fields);
  else
    log_.debug("the Sidekick closes a socket", fields);
  if (ClientSocket* socket = clients_.find(action.client))
    socket->end(static_cast<u16>(action.code), action.reason);
}

void Host::set_timer(u64 at_ms) {
  timer_.cancel();
  if (at_ms == 0) return;
  const Millis now = now_ms();
  const u64 wait_ms = at_ms > now ? at_ms - now : 0;
  timer_.expires_after(std::chrono::milliseconds(std::min(wait_ms, timer_ms_max)));
  timer_.async_wait([this, at_ms, is_early = wait_ms > timer_ms_max](const ErrorCode& stopped) {
    if (stopped) return;
    if (is_early)
      set_timer(at_ms);
    else
      apply(input::TimerFired{});
  });
}

// --- the end of a turn ---

void Host::note_write() {
  if (sender_.client != 0 || sender_.session != nullptr) writers_.push_back(sender_);
  loop_.end_turn_later();
}

/// Nothing that was not stored may be confirmed: the requesters of failed writes get an error, and
/// nobody else notices. Writes that nobody waits for (an expiry, a disconnected client) may be
/// lost: the next restart repeats them.
void Host::commit() {
  const std::string why = options_.tokens.commit();
  const std::vector<Sender> writers = std::exchange(writers_, {});
  const std::vector<Sender> unstored = std::exchange(unstored_, {});
  if (!why.empty() && unstored_senders_ == 0)
    log_.error("storage failed; changes are rejected until it recovers", {{"error", why}});
  if (!why.empty()) unstored_senders_ += writers.size();
  if (why.empty() && !writers.empty() && unstored_senders_ > 0) {
    log_.info("storage has recovered",
              {{"refused_meanwhile", std::exchange(unstored_senders_, 0)}});
  }
  if (!unstored.empty())
    log_.warn("a client used a token that was not stored at registration",
              {{"senders", unstored.size()}});
  for (const Sender& writer : why.empty() ? unstored : writers) refuse(writer);
}

/// The hub keeps the token that was not stored, though nobody can take it, until it expires or is
/// registered again. A closed client is gone for the hub with everything it held.
void Host::refuse(const Sender& writer) {
  if (writer.session != nullptr)
    writer.session->fail(503, "Service Unavailable: storage failed; see the log of the Sidekick");
  ClientSocket* socket = clients_.find(writer.client);
  if (socket == nullptr) return;
  const auto kept = socket->shared_from_this();
  clients_.erase(writer.client);
  socket->end_without_turn(close_internal_error, "internal error: storage failed");
  std::vector<Waiting> unsent;
  for (Waiting& waiting : std::exchange(forwards_, {}))
    (waiting.sender == writer.client ? unsent : forwards_).push_back(std::move(waiting));
  apply(input::ClientClosed{writer.client});
  for (const Waiting& waiting : unsent) {
    if (waiting.generation == generation_) apply(input::ForwardDone{waiting.forward, 0, {}});
  }
}

void Host::start_forwards() {
  for (Waiting& waiting : std::exchange(forwards_, {})) {
    const auto done = [this, forward = waiting.forward,
                       generation = waiting.generation](const ForwardResult& result) {
      if (generation == generation_) apply(input::ForwardDone{forward, result.status, result.body});
    };
    if (options_.forwarder != nullptr) {
      options_.forwarder->send(std::move(waiting.body), waiting.timeout_ms, done);
      continue;
    }
    if (!is_warned_of_no_server_)
      log_.warn("a client sent a message, but no app server is configured: set --server-url");
    is_warned_of_no_server_ = true;
    asio::post(loop_.context(), [done] { done({Outcome::no_app_server}); });
  }
}

/// One timer for all sockets. Each second it pings a part of them, so that pings are spread out.
void Host::tick_later() {
  tick_.expires_after(std::chrono::seconds(1));
  tick_.async_wait([this](const ErrorCode& stopped) {
    if (stopped) return;
    log_.tick();
    ping_some();
    tick_later();
  });
}

void Host::ping_some() {
  ping_tick_ = (ping_tick_ + 1) % options_.ping_seconds;
  for (const auto& socket : clients_.all()) {
    if (socket->client % options_.ping_seconds != ping_tick_ || socket->is_ending()) continue;
    if (socket->silent_rounds() > silent_rounds_max)
      socket->drop("the peer is silent");
    else
      socket->send(ping_frame());
  }
}

// --- recording and recovery ---

void Host::start_recording() {
  if (options_.recorder == nullptr || !options_.recorder->is_active()) return;
  options_.recorder->write(runtime_->describe());
  options_.recorder->write("\n");
  runtime_->record(true);
}

/// After the actions: the next call on the hub invalidates their views.
void Host::write_recorded() {
  if (options_.recorder != nullptr && options_.recorder->is_active())
    options_.recorder->write(runtime_->recorded());
}

/// The hub trapped. Closes the client that sent the input, and continues with a new hub restored
/// from the stored records.
void Host::recover(const std::string& why, Millis at, const Input* input, const Sender& sender) {
  log_.error("the hub trapped and is replaced; please report this",
             {{"input", name_of(input)}, {"error", why}});
  const Sender culprit = sender;
  sender_ = {};
  if (culprit.session != nullptr) culprit.session->fail(500, "Internal error");
  if (ClientSocket* socket = clients_.find(culprit.client))
    socket->end(close_internal_error, "internal error");
  remake(at, input);
}

/// input: the one at which the previous hub trapped.
void Host::remake(Millis at, const Input* input) {
  timer_.cancel();
  ++generation_;
  runtime_ = options_.create_runtime();
  if (restore(at, input)) return;
  // The records themselves cause the trap. Dropping all state is better than serving nobody.
  log_.error("the stored records cannot be restored: dropping all tokens and closing all sockets");
  options_.tokens.clear();
  loop_.end_turn_later();
  for (const auto& socket : clients_.all()) socket->end(close_internal_error, "internal error");
  ++generation_;
  runtime_ = options_.create_runtime();
  if (!restore(at, nullptr)) throw StartError("a fresh hub trapped immediately; giving up");
}

bool Host::restore(Millis at, const Input* input) {
  unsigned dropped = 0;
  unsigned expired = 0;
  const auto tell = [&](const Input& it) {
    const auto actions = runtime_->handle(at, it);
    perform(actions);
    const bool has_erased = std::any_of(actions.begin(), actions.end(), [](const Action& action) {
      return action.tag == ActionTag::erase_token;
    });
    write_recorded();
    return has_erased;
  };
  try {
    if (input != nullptr && options_.recorder != nullptr)
      options_.recorder->write(runtime_->record_input(at, *input));
    start_recording();
    for (const StoredToken& token : options_.tokens.all()) {
      const bool is_over = token.state == token_free && token.expires_at <= at;
      expired += is_over;
      dropped +=
          tell(input::RestoreToken{token.state, token.expires_at, token.key, token.record}) &&
          !is_over;
    }
    if (expired > 0) log_.info("stored tokens had expired", {{"tokens", expired}});
    if (dropped > 0)
      log_.warn("stored tokens were dropped: their records are damaged or exceed a limit",
                {{"tokens", dropped}});
    for (const auto& socket : clients_.all()) {
      if (!socket->is_ending()) tell(input::RestoreClient{socket->client, socket->record});
    }
    tell(input::TimerFired{});
    if (is_shutting_down_) tell(input::ShuttingDown{});
    return true;
  } catch (const Trap& trap) {
    log_.error("restoring failed", {{"error", trap.what()}});
    return false;
  }
}

}  // namespace sidekick::host
