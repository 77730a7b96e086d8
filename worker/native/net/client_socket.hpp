// One client's WebSocket: handles one frame per turn, assembles messages, answers pings, and
// performs the close handshake. A peer that does not read is not read either. Makes no protocol
// decision.
#pragma once

#include <string>

#include "net/websocket.hpp"
#include "net/wire.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

class ClientSocket;

/// Receives the events of a socket.
class SocketTaker {
 public:
  virtual void on_message(ClientSocket& socket, std::string_view bytes, bool is_text) = 0;
  /// Exactly once, after all other events. why: for the log, if something was wrong.
  virtual void on_closed(ClientSocket& socket, u16 code, const std::string& why) = 0;
  /// More bytes than the limit would be waiting if this turn's output were written. Nothing was
  /// written.
  virtual void on_lagging(ClientSocket& socket, std::size_t buffered_bytes) = 0;

 protected:
  ~SocketTaker() = default;
};

/// Shared by all sockets of a server.
struct SocketRules {
  SocketTaker& taker;
  std::size_t message_bytes_max;
  std::size_t client_buffer_bytes_max;
};

class ClientSocket final : public Wire {
 public:
  /// client: the hub's handle for this socket.
  ClientSocket(Loop& loop, Stream stream, const SocketRules& rules, ClientId client)
      : Wire(loop, std::move(stream)), client(client), rules_(rules) {}

  const ClientId client;
  /// The hub's record of this client.
  std::string record;

  /// Starts reading. bytes: what was already read after the handshake.
  void start(std::string_view bytes);

  /// Sends pending output, then the close frame; waits a few seconds for the peer's.
  void end(u16 code, std::string_view reason);
  /// Drops this turn's output: it is not true.
  void withhold();
  /// Set once the hub or the host has decided to close this socket: nothing more from it reaches
  /// the hub.
  bool is_ending() const { return is_ending_; }

  /// Call once per ping round. Returns the number of consecutive rounds without a sign of life.
  unsigned silent_rounds();

  /// A socket with a deadline is being closed.
  Claim claim() const override { return is_ending_ ? Claim::ending : Claim::busy; }
  void flush_turn() override;
  void on_turn() override;
  void on_deadline() override {
    lost(is_peer_closed_ ? "" : "the peer did not answer the close frame in time");
  }

 private:
  void on_bytes(std::span<char> bytes) override;
  void on_lost(const std::string& why) override;
  bool wants_bytes() const override;
  void on_drained() override { go_on(); }

  std::size_t take_frame(std::span<char> bytes);
  void on_frame(const FrameHeader& header, std::span<char> payload);
  void on_close_frame(std::string_view payload);
  void fail(u16 code, const char* why);
  void tell_closed(const std::string& why);
  void keep(std::span<const char> rest);
  void go_on();

  const SocketRules& rules_;
  /// Bytes read but not consumed: part of a frame, or frames whose turn has not come.
  std::string pending_;
  std::size_t pending_at_ = 0;
  /// The fragments received so far of an incomplete message.
  std::string message_;
  unsigned message_pieces_ = 0;
  bool is_message_text_ = false;
  Utf8Parts message_utf8_;
  unsigned seen_bytes_ = ~0u;  // the first round is never silent
  unsigned silent_rounds_ = 0;
  u16 code_ = close_abnormal;
  bool is_ending_ = false;
  bool is_peer_closed_ = false;
  bool is_told_ = false;
  bool has_turn_ = false;             // on_turn() is scheduled
  bool is_waiting_for_more_ = false;  // pending_ holds no complete frame
};

}  // namespace sidekick::host
