#include "host.hpp"

#include <algorithm>

#include <openssl/rand.h>

#include "clock.hpp"
#include "inspect/inspection.hpp"

namespace sidekick::host {

namespace {

constexpr unsigned silent_rounds_max = 2;
/// A deadline far in the future must not overflow the clock's numbers. A timer that fires early is
/// set again.
constexpr u64 timer_ms_max = 24 * 60 * 60 * 1000;
/// Redis has only one.
constexpr u32 engine_shard = 0;

const Buffer::Ptr& ping_frame() {
  static const Buffer::Ptr frame = control_frame(opcode_ping, {});
  return frame;
}

SocketRules rules_of(SocketTaker& taker, const Limits& limits) {
  return {taker, std::size_t{limits.frame_bytes_max} + frame_bytes_over_max,
          limits.client_buffer_bytes_max};
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
      rules_(rules_of(*this, runtime->limits())),
      timer_(loop.context().get_executor()),
      tick_(loop.context().get_executor()),
      session_(*this, log_, std::move(runtime)) {
  loop_.before_writes = [this] {
    session_.commit();
    answered_.clear();
  };
  loop_.after_writes = [this] {
    session_.start_forwards();
    limit_unsent();
  };
  if (options_.engine)
    engine_.emplace(loop_, *options_.engine, static_cast<EngineTaker&>(*this), log_);
  tick_later();
}

Host::~Host() {
  loop_.before_writes = [] {};
  loop_.after_writes = [] {};
}

void Host::start() {
  session_.start();
  if (engine_) engine_->start();
}

// --- events ---

void Host::on_request(HttpSession& session, const input::HttpRequest& request) {
  input::HttpRequest input = request;
  input.request = next_request_++;
  if (next_request_ == 0) next_request_ = 1;
  requests_.emplace(input.request,
                    std::static_pointer_cast<HttpSession>(session.shared_from_this()));
  session_.apply(input, {0, input.request});
}

void Host::on_metrics(HttpSession& session, const input::HttpRequest& request) {
  auto answer = session_.metrics(request);
  if (const auto* why = std::get_if<NoAnswer>(&answer)) return session.fail(*why);
  std::string& text = std::get<std::string>(answer);
  const auto append = [&text](HostFamily family, auto value) {
    append_family(text, family, static_cast<double>(value));
  };
  append(HostFamily::sidekick_host_dropped_clients_total, dropped_);
  append(HostFamily::sidekick_host_unsent_bytes, Buffer::bytes_in_use());
  loop_lag_.append_to(text);
  append(HostFamily::process_resident_memory_bytes, resident_bytes());
  append(HostFamily::process_cpu_seconds_total, cpu_seconds());
  append(HostFamily::process_start_time_seconds, static_cast<double>(started_at_) / 1000);
  session.respond({0, 200, 0, metrics_content_type, {}, text, sidekick::ErrorCode::ok});
}

void Host::on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) {
  const ClientId client = clients_.choose();
  if (log_.has(LogLevel::debug))
    log_.debug("socket opened", {{"client", client}, {"remote", stream.remote_address()}});
  const auto socket = std::make_shared<ClientSocket>(loop_, std::move(stream), rules_, client);
  clients_.add(socket);
  socket->send(handshake);
  session_.apply(input::ClientOpened{client}, {client, 0});
  socket->start(rest);
}

void Host::on_rejected(const action::Respond& answer, std::string_view path,
                       const std::string& remote) {
  log_told(answer.code, "rejected a request",
           {{"status", answer.status},
            {"code", name_of(answer.code)},
            {"path", path},
            {"remote", remote}});
}

void Host::log_told(sidekick::ErrorCode code, std::string_view message, Log::Fields fields) {
  if (is_warned(code))
    log_.warn(message, fields);
  else
    log_.debug(message, fields);
}

void Host::on_message(ClientSocket& socket, std::string_view bytes, bool is_text) {
  session_.apply(input::ClientFrame{socket.client, bytes, is_text}, {socket.client, 0});
}

void Host::on_closed(ClientSocket& socket, u16 code, const std::string& why) {
  const ClientId client = socket.client;
  if (code == close_abnormal && !why.empty())
    log_.debug("socket error", {{"client", client}, {"error", why}});
  log_.debug("socket closed", {{"client", client}, {"code", code}});
  const auto kept = socket.shared_from_this();
  if (clients_.erase(client)) session_.apply(input::ClientClosed{client});
}

void Host::on_lagging(ClientSocket& socket, std::size_t buffered_bytes) {
  const auto bytes = static_cast<u32>(std::min<std::size_t>(buffered_bytes, 0xffffffff));
  session_.apply(input::ClientLagging{socket.client, bytes}, {socket.client, 0});
}

/// Drops connections at once: a close frame would wait behind the messages that the peer does not
/// take. Some memory is freed beyond the limit, so that the next message needs no other look at all
/// connections.
void Host::limit_unsent() {
  if (!loop_.is_over_limit()) return;
  struct Holder {
    bool is_closing;
    std::size_t share;
    std::shared_ptr<Wire> wire;
  };
  std::vector<Holder> holders;
  const auto add = [&](std::shared_ptr<Wire> wire, bool is_closing) {
    if (const std::size_t share = wire->unsent_share(); share > 0)
      holders.push_back({is_closing, share, std::move(wire)});
  };
  // A closing socket has a deadline, and may be no client any more.
  for (const auto& wire : loop_.with_deadline()) {
    if (wire->claim() == Wire::Claim::ending) add(wire, true);
  }
  for (const auto& socket : clients_.all()) {
    if (!socket->is_ending()) add(socket, false);
  }
  std::sort(holders.begin(), holders.end(), [](const Holder& a, const Holder& b) {
    return std::pair(a.is_closing, a.share) > std::pair(b.is_closing, b.share);
  });
  std::size_t dropped = 0;
  const std::size_t kept_max = loop_.output_bytes_max - loop_.output_bytes_max / 4;
  for (const Holder& holder : holders) {
    if (Buffer::bytes_in_use() <= kept_max) break;
    holder.wire->drop("global limit for unsent messages exceeded (unsent_bytes_max)");
    ++dropped;
  }
  dropped_ += dropped;
  if (dropped == 0) return;
  log_.warn("dropped connections: too many unsent messages (unsent_bytes_max)",
            {{"connections", dropped}});
}

void Host::shut_down() {
  is_stopping_ = true;
  session_.shut_down();
}

// --- what a session asks for ---

Millis Host::now() { return now_ms(); }

u64 Host::draw_epoch() {
  constexpr u64 epochs = (u64{1} << 53) - 1;
  u64 random = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random);
  return random % epochs + 1;
}

bool Host::is_recording() {
  return options_.inspection != nullptr ||
         (options_.recorder != nullptr && options_.recorder->is_active());
}

void Host::record(Bytes lines) {
  if (options_.recorder != nullptr) options_.recorder->write(lines);
  if (options_.inspection != nullptr) options_.inspection->write(lines);
}

std::string Host::recording_place() {
  return options_.recorder != nullptr ? options_.recorder->place()
                                      : "none: start with --record FILE to have one";
}

std::vector<OpenClient> Host::open_clients() {
  std::vector<OpenClient> open;
  for (const auto& socket : clients_.all()) {
    if (!socket->is_ending()) open.push_back({socket->client, socket->record});
  }
  return open;
}

void Host::forget_all() {
  options_.tokens.clear();
  loop_.end_turn_later();
  for (const auto& socket : clients_.all()) socket->end(close_internal_error, "internal error");
}

void Host::fail(const Peer& peer, NoAnswer why) {
  for (const auto& [request, session] : std::exchange(requests_, {})) session->fail(why);
  if (ClientSocket* socket = clients_.find(peer.client))
    socket->end(close_internal_error, "internal error");
}

void Host::withhold(const Peer& peer) {
  if (ClientSocket* socket = clients_.find(peer.client)) socket->withhold();
  const auto answered = std::find_if(answered_.begin(), answered_.end(),
                                     [&](const auto& one) { return one.first == peer.request; });
  if (answered == answered_.end()) return;
  answered->second->withhold();
  requests_.insert(*answered);
  answered_.erase(answered);
}

// --- actions ---

void Host::attach_client(const action::AttachClient& it) {
  ClientSocket* socket = clients_.find(it.client);
  if (socket == nullptr) return;
  if (it.append == 0) socket->record.clear();
  socket->record += it.record;
}

void Host::send(const action::Send& it) {
  Buffer::Ptr frame;
  for (const ClientId client : it.clients) {
    ClientSocket* socket = clients_.find(client);
    if (socket == nullptr || socket->is_ending()) continue;
    if (frame == nullptr) frame = text_frame(it.text);
    socket->send(frame);
  }
}

void Host::respond(const action::Respond& it) {
  const auto found = requests_.find(it.request);
  if (found == requests_.end()) return;
  const auto session = std::move(found->second);
  requests_.erase(found);
  answered_.emplace_back(it.request, session);
  loop_.end_turn_later();
  session->respond(it);
}

void Host::forward(const action::Forward& it) {
  const auto done = [this, forward = it.forward](const ForwardResult& result) {
    forwards_.erase(forward);
    session_.apply(
        input::ForwardDone{forward, result.status, result.body, static_cast<u32>(result.outcome)});
  };
  if (options_.forwarder != nullptr) {
    forwards_[it.forward] = {};  // first: it may be done at once
    const u32 limit_ms = it.timeout_ms + forward_timeout_extra_ms;
    const auto handle =
        options_.forwarder->send(std::string(it.body), it.timeout_ms, limit_ms, done);
    if (const auto sent = forwards_.find(it.forward); sent != forwards_.end())
      sent->second = handle;
    return;
  }
  if (!is_warned_of_no_server_)
    log_.warn("a client sent a message, but no app server is configured: set --server-url");
  is_warned_of_no_server_ = true;
  asio::post(loop_.context(), [done] { done({Outcome::no_app_server}); });
}

void Host::cancel_forward(const action::CancelForward& it) {
  const auto found = forwards_.find(it.forward);
  if (found == forwards_.end()) return;
  const auto handle = found->second;
  forwards_.erase(found);
  options_.forwarder->cancel(handle);
}

void Host::close(const action::Close& it) {
  log_told(
      it.why, "the Sidekick closes a socket",
      {{"client", it.client}, {"code", it.code}, {"why", name_of(it.why)}, {"reason", it.reason}});
  if (ClientSocket* socket = clients_.find(it.client))
    socket->end(static_cast<u16>(it.code), it.reason);
}

void Host::set_timer(const action::SetTimer& it) {
  timer_.cancel();
  if (it.at_ms == 0) return;
  const Millis now = now_ms();
  const u64 wait_ms = it.at_ms > now ? it.at_ms - now : 0;
  timer_.expires_after(std::chrono::milliseconds(std::min(wait_ms, timer_ms_max)));
  timer_.async_wait([this, it, is_early = wait_ms > timer_ms_max](const ErrorCode& stopped) {
    if (stopped) return;
    if (is_early)
      set_timer(it);
    else
      session_.apply(input::TimerFired{});
  });
}

// --- the engine ---

void Host::engine_run(const action::EngineRun& it) { engine_->run(it.call, it.script, it.args); }
void Host::engine_join(const action::EngineJoin& it) { engine_->join(it.call, it.topics); }
void Host::engine_leave(const action::EngineLeave& it) { engine_->leave(it.topics); }

void Host::renew_engine() {
  if (engine_) engine_->renew();
}

void Host::on_engine_up() { session_.apply(input::EngineUp{engine_shard, 0}); }
void Host::on_engine_down() { session_.apply(input::EngineDown{engine_shard}); }

void Host::on_engine_answer(u32 call, u32 status, std::span<const Bytes> values) {
  if (status != 0) log_.warn("the engine refused a call", {{"reason", values.front()}});
  session_.apply(input::EngineAnswer{call, status, values});
}

void Host::on_engine_message(Bytes topic, Bytes body) {
  session_.apply(input::EngineMessage{engine_shard, topic, body});
}

// --- every second ---

/// One timer for all sockets. Each second it pings a part of them, so that pings are spread out.
void Host::tick_later() {
  tick_.expires_after(std::chrono::seconds(1));
  tick_.async_wait([this](const ErrorCode& stopped) {
    if (stopped) return;
    const auto late = std::chrono::steady_clock::now() - tick_.expiry();
    loop_lag_.observe(std::chrono::duration<double>(late).count());
    log_.tick();
    session_.retry();
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

}  // namespace sidekick::host
