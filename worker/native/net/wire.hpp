// One connection opened by a client, for HTTP or a WebSocket: reads into the loop's buffer, writes
// a turn's output at once, keeps what the peer does not take, and closes in order. The protocol is
// up to the subclass.
#pragma once

#include <deque>
#include <list>
#include <memory>

#include "net/loop.hpp"
#include "net/stream.hpp"

namespace sidekick::host {

class Wire : public std::enable_shared_from_this<Wire> {
 public:
  Wire(Loop& loop, Stream stream) : loop_(loop), stream_(std::move(stream)) {}
  virtual ~Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  /// Adds bytes to this turn's output.
  void send(const Buffer::Ptr& frame);

  /// Closes at once.
  void close();
  /// Closes at once, as if the peer had disconnected.
  void drop(const std::string& why) { lost(why); }

  /// Which connections are closed first when others need their place.
  enum class Claim : unsigned char {
    none,    ///< a stranger's idle connection
    ending,  ///< it closes by itself within seconds
    known,   ///< an idle connection of a peer with the secret
    busy,    ///< never closed
  };
  virtual Claim claim() const { return Claim::busy; }

  /// The memory of the output that the peer has not taken: of what waits for several peers, an
  /// equal part.
  std::size_t unsent_share() const;

  /// Called by the loop.
  virtual void flush_turn();
  virtual void on_turn() {}
  virtual void on_deadline() { lost("timed out"); }

 protected:
  /// Bytes from the peer. They may be changed in place and are lost after the call.
  virtual void on_bytes(std::span<char> bytes) = 0;
  /// The connection is closed. Called once, and not after close().
  virtual void on_lost(const std::string& why) = 0;
  /// While false, nothing is read. Call arm_read() when that may have changed.
  virtual bool wants_bytes() const = 0;
  /// The peer has closed its sending side.
  virtual void on_peer_ended() { lost("the peer closed the connection"); }
  /// The peer has taken all pending output.
  virtual void on_drained() {}

  void arm_read();

  /// Once everything is written: sends no more, discards what arrives, and closes when the peer
  /// closes or the time is over. Closing at once would lose what the peer has not read yet.
  void finish(std::chrono::milliseconds linger);
  bool is_finishing() const { return is_finishing_; }
  bool is_closed() const { return is_closed_; }
  /// Whether output is pending, in this turn or later.
  bool owes() const { return batch_ != nullptr || unsent_ != nullptr; }

  /// Call when the number of bytes held for an incomplete message has changed, with 0 when the
  /// message is complete. Each connection limits its own, but strangers may open many: Unfinished
  /// limits all of them together.
  void keep_unfinished(std::size_t bytes);

  void lost(const std::string& why);
  void write(const Batch& batch);
  /// Drops this turn's output, including finish().
  void drop_turn();
  const Batch* take_turn() { return std::exchange(batch_, nullptr); }

  /// Bytes accepted for writing that the peer has not taken yet.
  std::size_t unsent_bytes() const { return unsent_ == nullptr ? 0 : unsent_->bytes; }

  /// Total bytes read, or written if `is_writing`; wraps around.
  unsigned bytes_read() const { return bytes_read_; }
  unsigned bytes_written() const { return bytes_written_; }

  /// Releases the stream: this object is closed afterwards.
  Stream release();

  Loop& loop() { return loop_; }
  Stream& stream() { return stream_; }

 private:
  struct Unsent {
    std::deque<Buffer::Ptr> pieces;
    std::size_t offset = 0;  // within the first
    std::size_t bytes = 0;
  };

  void on_readable();
  void write(std::span<const Buffer::Ptr> pieces, std::size_t bytes);
  void arm_write();
  void write_unsent();
  bool count_written(IoResult result);
  void keep(const Buffer::Ptr& piece, std::size_t offset);
  void drained();

  Loop& loop_;
  Stream stream_;
  const Batch* batch_ = nullptr;
  std::unique_ptr<Unsent> unsent_;
  std::uint32_t unfinished_bytes_ = 0;
  std::list<Wire*>::iterator unfinished_place_;  ///< set while those are more than 0
  unsigned bytes_read_ = 0;
  unsigned bytes_written_ = 0;
  bool is_finishing_ = false;
  bool is_peer_done_ = false;
  bool is_read_armed_ = false;
  bool is_write_armed_ = false;
  bool is_send_shut_ = false;
  bool is_closed_ = false;
};

}  // namespace sidekick::host
