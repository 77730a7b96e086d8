// Connects the hub to its surroundings: passes inputs to the hub and performs its actions in list
// order. Owns the hub, the clients' sockets, the stored records, the timer and the recording. Makes
// no protocol decision.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clients.hpp"
#include "http/forwarder.hpp"
#include "http/http_session.hpp"
#include "log.hpp"
#include "net/client_socket.hpp"
#include "net/loop.hpp"
#include "recorder.hpp"
#include "runtime/runtime.hpp"
#include "store/tokens.hpp"

namespace sidekick::host {

struct HostOptions {
  /// Creates a hub at the start, and another one after a trap.
  std::function<std::unique_ptr<Runtime>()> create_runtime;
  TokenStore& tokens;
  Forwarder* forwarder;
  Recorder* recorder;
  Log& log;
  unsigned ping_seconds;
};

class Host final : public SocketTaker, public RequestTaker {
 public:
  Host(Loop& loop, std::unique_ptr<Runtime> runtime, HostOptions options);
  ~Host();

  /// Call once, before the first input: restores what is stored.
  void start();

  /// From now on the hub rejects messages for the app server; forwards in flight continue.
  void shut_down();
  Clients& clients() { return clients_; }

  u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) override;
  void on_request(HttpSession& session, const input::HttpRequest& request) override;
  void on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) override;
  void on_refused(std::string_view path, const std::string& remote) override;
  bool is_stopping() const override { return is_shutting_down_; }

  void on_message(ClientSocket& socket, std::string_view bytes) override;
  void on_closed(ClientSocket& socket, u16 code, const std::string& why) override;
  void on_lagging(ClientSocket& socket, std::size_t buffered_bytes) override;

 private:
  /// The sender of the current input, who is told if it fails.
  struct Sender {
    ClientId client = 0;
    std::shared_ptr<HttpSession> session;
  };
  struct Waiting {
    ForwardId forward;
    u64 generation;  ///< of the hub that assigned this number
    std::string body;
    u32 timeout_ms;
    ClientId sender;
  };

  void apply(const Input& input) { apply(input, Sender()); }
  void apply(const Input& input, Sender sender);
  void perform(std::span<const Action> actions);
  void perform_one(const Action& action);
  void note_write();
  void send(const action::Send& action);
  void close(const action::Close& action);
  void set_timer(u64 at_ms);

  void commit();
  void start_forwards();
  void tick_later();
  void ping_some();

  void start_recording();
  void write_recorded();
  void recover(const std::string& why, Millis at, const Input* input, const Sender& sender);
  void refuse(const Sender& writer);
  void remake(Millis at, const Input* input);
  bool restore(Millis at, const Input* input);

  Loop& loop_;
  HostOptions options_;
  Log& log_;
  std::unique_ptr<Runtime> runtime_;
  /// Number of hubs created so far: answers to forwards of a previous hub are ignored.
  u64 generation_ = 0;
  Limits limits_;
  SocketRules rules_;
  Clients clients_;
  Sender sender_;
  /// Requesters of writes in this turn, and users of tokens that are not stored.
  std::vector<Sender> writers_;
  std::vector<Sender> unstored_;
  std::vector<Waiting> forwards_;
  RequestId next_request_ = 1;
  RequestId answered_request_ = 0;
  Loop::Timer timer_;
  Loop::Timer tick_;
  unsigned ping_tick_ = 0;
  bool is_warned_of_no_server_ = false;
  u64 unstored_senders_ = 0;  // set when storage begins to fail: logged once, and once on recovery
  bool is_shutting_down_ = false;
};

}  // namespace sidekick::host
