// One client's WebSocket: takes one frame a turn, puts messages together, answers pings, and does
// the closing handshake. Whoever does not take what is written to it is not read either. Makes no
// protocol decision.
#pragma once

#include <string>

#include "net/websocket.hpp"
#include "net/wire.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

class ClientSocket;

/// Who is told what happens to a socket.
class SocketTaker {
 public:
  virtual void on_message(ClientSocket& socket, std::string_view bytes) = 0;
  /// Exactly once, after everything else. why: for the log, where something was wrong.
  virtual void on_closed(ClientSocket& socket, u16 code, const std::string& why) = 0;
  /// So many bytes would wait if this turn's were written, more than the socket may have. They have
  /// not been.
  virtual void on_lagging(ClientSocket& socket, std::size_t buffered_bytes) = 0;

 protected:
  ~SocketTaker() = default;
};

/// The same for all sockets of a server.
struct SocketRules {
  SocketTaker& taker;
  std::size_t message_bytes_max;
  std::size_t unsent_bytes_max;
};

class ClientSocket final : public Wire {
 public:
  /// client: the handle under which the hub knows this one.
  ClientSocket(Loop& loop, Stream stream, const SocketRules& rules, ClientId client)
      : Wire(loop, std::move(stream)), client(client), rules_(rules) {}

  const ClientId client;
  /// The hub's record of this client.
  std::string record;

  /// Begins to read. bytes: what has been read already behind the handshake.
  void start(std::string_view bytes);

  /// Sends what is owed, then the close frame; waits for the peer's for some seconds.
  void end(u16 code, std::string_view reason);
  /// Drops what this turn has for the peer, then as end().
  void end_without_turn(u16 code, std::string_view reason);
  /// Set once the hub, or the host, has decided that this socket ends: nothing of it reaches the
  /// hub any more.
  bool is_ending() const { return is_ending_; }

  /// To be called once per ping round. How many rounds in a row have brought no sign of the peer.
  unsigned silent_rounds();

  /// One that has a deadline is being closed.
  Claim claim() const override { return is_ending_ ? Claim::ending : Claim::busy; }
  void flush_turn() override;
  void on_turn() override;
  void on_deadline() override {
    lost(is_peer_closed_ ? "" : "the peer did not answer the close in time");
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
  /// Bytes that have been read and not taken: part of a frame, or frames whose turn has not come.
  std::string pending_;
  std::size_t pending_at_ = 0;
  /// The pieces so far of a message that comes in several.
  std::string message_;
  unsigned message_pieces_ = 0;
  unsigned seen_bytes_ = ~0u;  // a first round is never silent
  unsigned silent_rounds_ = 0;
  u16 code_ = close_abnormal;
  bool is_ending_ = false;
  bool is_peer_closed_ = false;
  bool is_told_ = false;
  bool has_turn_ = false;             // on_turn() is to come
  bool is_waiting_for_more_ = false;  // pending_ has no whole frame
};

}  // namespace sidekick::host
