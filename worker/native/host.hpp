// Connects a session to its surroundings: passes the events of sockets and requests to it, and
// performs its actions. Owns the clients' sockets, the open requests and the timer. Makes no
// protocol decision.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "clients.hpp"
#include "engine/redis.hpp"
#include "families.hpp"
#include "http/forwarder.hpp"
#include "http/http_session.hpp"
#include "log.hpp"
#include "net/client_socket.hpp"
#include "net/loop.hpp"
#include "recorder.hpp"
#include "session.hpp"
#include "store/tokens.hpp"

namespace sidekick::host {

class Inspection;

struct HostOptions {
  /// Creates a hub after a trap.
  std::function<std::unique_ptr<Runtime>()> create_runtime;
  TokenStore& tokens;
  Forwarder* forwarder;
  Recorder* recorder;
  Inspection* inspection;
  Log& log;
  unsigned ping_seconds;
  std::optional<RedisOptions> engine;
};

class Host final : public SocketTaker, public RequestTaker, private EngineTaker, private SessionIo {
 public:
  Host(Loop& loop, std::unique_ptr<Runtime> runtime, HostOptions options);
  ~Host();

  /// Call once, before the first input: restores what is stored, and connects to the engine.
  void start();

  void drain(u32 ms) { session_.drain(ms); }
  /// From now on the hub rejects messages for the app server; forwards in flight continue.
  void shut_down();
  std::string snapshot() { return session_.snapshot(); }
  void align_timer() { session_.align_timer(); }
  /// Forwards of this turn, which the forwarder does not have yet.
  bool holds_forwards() const { return session_.holds_forwards(); }
  /// Null: none.
  Redis* engine() { return engine_ ? &*engine_ : nullptr; }
  Clients& clients() { return clients_; }

  std::variant<Verdict, NoAnswer> admit(const input::HttpRequest& request) override {
    return session_.admit(request);
  }
  void on_request(HttpSession& session, const input::HttpRequest& request) override;
  void on_metrics(HttpSession& session, const input::HttpRequest& request) override;
  void on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) override;
  void on_rejected(const action::Respond& answer, std::string_view path,
                   const std::string& remote) override;
  bool is_stopping() const override { return is_stopping_; }

  void on_message(ClientSocket& socket, std::string_view bytes, bool is_text) override;
  void on_closed(ClientSocket& socket, u16 code, const std::string& why) override;
  void on_lagging(ClientSocket& socket, std::size_t buffered_bytes) override;

 private:
  std::unique_ptr<Runtime> create_hub() override { return options_.create_runtime(); }
  Millis now() override;
  u64 draw_epoch() override;
  bool is_recording() override;
  void record(Bytes lines) override;
  std::string recording_place() override;
  std::vector<StoredToken> stored_tokens() override { return options_.tokens.all(); }
  std::vector<OpenClient> open_clients() override;
  void forget_all() override;
  void fail(const Peer& peer, NoAnswer why) override;
  void end_turn_later() override { loop_.end_turn_later(); }
  std::string commit() override { return options_.tokens.commit(); }
  void withhold(const Peer& peer) override;
  void put_token(const action::PutToken& it) override { options_.tokens.put(it); }
  void touch_token(const action::TouchToken& it) override { options_.tokens.touch(it); }
  void erase_token(const action::EraseToken& it) override { options_.tokens.erase(it); }
  void attach_client(const action::AttachClient& it) override;
  void send(const action::Send& it) override;
  void respond(const action::Respond& it) override;
  void forward(const action::Forward& it) override;
  void cancel_forward(const action::CancelForward& it) override;
  void close(const action::Close& it) override;
  void set_timer(const action::SetTimer& it) override;
  void renew_engine() override;
  void engine_run(const action::EngineRun& it) override;
  void engine_join(const action::EngineJoin& it) override;
  void engine_leave(const action::EngineLeave& it) override;

  void on_engine_up() override;
  void on_engine_down() override;
  void on_engine_answer(u32 call, u32 status, std::span<const Bytes> values) override;
  void on_engine_message(Bytes topic, Bytes body) override;

  void log_told(sidekick::ErrorCode code, std::string_view message, Log::Fields fields);
  void limit_unsent();
  void tick_later();
  void ping_some();

  Loop& loop_;
  HostOptions options_;
  Log& log_;
  SocketRules rules_;
  Clients clients_;
  std::unordered_map<RequestId, std::shared_ptr<HttpSession>> requests_;  ///< without an answer
  /// Answered in this turn.
  std::vector<std::pair<RequestId, std::shared_ptr<HttpSession>>> answered_;
  std::unordered_map<ForwardId, Forwarder::Handle> forwards_;
  RequestId next_request_ = 1;
  Loop::Timer timer_;
  Loop::Timer tick_;
  std::optional<Redis> engine_;
  unsigned ping_tick_ = 0;
  Histogram loop_lag_{HostFamily::sidekick_host_loop_lag_seconds};
  bool is_warned_of_no_server_ = false;
  std::size_t dropped_ = 0;  ///< connections, see limit_unsent
  const Millis started_at_ = now();
  bool is_stopping_ = false;
  Session session_;
};

}  // namespace sidekick::host
