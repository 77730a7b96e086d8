// One connection that a client has opened, be it for HTTP or a WebSocket: reads into the loop's
// buffer, writes what a turn has for it in one go, keeps what the peer does not take, and ends in
// an orderly way. What is said on it is a subclass's.
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

  /// Adds bytes to what this turn has for the peer.
  void send(const Buffer::Ptr& frame);

  /// Ends at once.
  void close();
  /// Ends at once, as if the peer had gone.
  void drop(const std::string& why) { lost(why); }

  /// Which connections go first where others need their place.
  enum class Claim : unsigned char {
    none,    ///< a stranger's, on which nothing is under way
    ending,  ///< it ends by itself in some seconds
    known,   ///< of one who has the secret, on which nothing is under way
    busy,    ///< never
  };
  virtual Claim claim() const { return Claim::busy; }

  /// Called by the loop.
  virtual void flush_turn();
  virtual void on_turn() {}
  virtual void on_deadline() { lost("timed out"); }

 protected:
  /// Bytes of the peer, which may be changed in place and are lost after the call.
  virtual void on_bytes(std::span<char> bytes) = 0;
  /// The connection is gone. Once, and not after close().
  virtual void on_lost(const std::string& why) = 0;
  /// While false, nothing is read. arm_read() when that may have changed.
  virtual bool wants_bytes() const = 0;
  /// The peer has sent its last.
  virtual void on_peer_ended() { lost("the peer has closed the connection"); }
  /// All that was owed has been taken.
  virtual void on_drained() {}

  void arm_read();

  /// When everything is written: no more is sent, what comes is dropped, and the connection ends
  /// with the peer's end or after the time. Closing at once would lose what the peer has not read
  /// yet.
  void finish(std::chrono::milliseconds linger);
  bool is_finishing() const { return is_finishing_; }
  bool is_closed() const { return is_closed_; }
  /// Whether something is to be written, be it in this turn or later.
  bool owes() const { return batch_ != nullptr || unsent_ != nullptr; }

  /// To be called when it has changed, and with 0 when a message is whole: what is kept of one that
  /// is not. Each connection bounds its own, but strangers may open many: Unfinished bounds all of
  /// them together.
  void keep_unfinished(std::size_t bytes);

  void lost(const std::string& why);
  void write(const Batch& batch);
  /// Takes back what this turn has said, and finish() behind it.
  void drop_turn();
  const Batch* take_turn() { return std::exchange(batch_, nullptr); }

  /// What has been given to write and was not taken yet.
  std::size_t unsent_bytes() const { return unsent_ == nullptr ? 0 : unsent_->bytes; }

  /// All bytes read, or written where `is_writing`, so far; wraps around.
  unsigned bytes_read() const { return bytes_read_; }
  unsigned bytes_written() const { return bytes_written_; }

  /// Takes the stream away: this object is then closed.
  Stream release();

  Loop& loop() { return loop_; }
  Stream& stream() { return stream_; }

 private:
  struct Unsent {
    std::deque<Buffer::Ptr> pieces;
    std::size_t offset = 0;  // in the first
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
  std::list<Wire*>::iterator unfinished_place_;  ///< while those are more than 0
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
