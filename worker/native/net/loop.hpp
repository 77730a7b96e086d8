// The event loop and its turns. The output of one turn's events is kept until the turn ends. Then
// writes are made durable, and every socket with output gets one write. Also owns the sockets'
// deadlines. Single-threaded.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "net/frames.hpp"

namespace sidekick::host {

namespace asio = boost::asio;
class Wire;

class Loop {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                           asio::wait_traits<std::chrono::steady_clock>,
                                           asio::io_context::executor_type>;

  using ReadBuffer = std::array<char, 64 * 1024>;

  asio::io_context& context() { return context_; }

  /// The read buffer: its content is lost with the next event.
  ReadBuffer& read_buffer() { return read_buffer_; }

  /// Adds a frame to a socket's output of this turn.
  const Batch* add(const Batch* batch, const Buffer::Ptr& frame) {
    return this_turn_->batches.with(batch, frame);
  }
  /// Schedules flush_turn() of this socket for the end of the turn.
  void flush_later(std::shared_ptr<Wire> wire);
  /// The turn must be ended even if no socket has output.
  void end_turn_later();
  /// Schedules on_turn() of this socket for the next turn.
  void call_next_turn(std::shared_ptr<Wire> wire);

  /// Bytes that connections hold because the rest of a message or of a request's head is missing.
  /// If their total exceeds the limit, the connections that have been waiting longest are closed:
  /// not immediately, but right after the current event, which may concern another connection.
  std::list<Wire*>::iterator begin_unfinished(Wire& wire) {
    return unfinished_.insert(unfinished_.end(), &wire);
  }
  void count_unfinished(std::size_t bytes, std::size_t before);
  void end_unfinished(std::list<Wire*>::iterator place) { unfinished_.erase(place); }

  /// The limit for the memory of all output. Beyond it, nothing more is read in a turn that has
  /// output: after_writes may free some of what the peers do not take.
  std::size_t output_bytes_max = SIZE_MAX;
  bool is_over_limit() const { return Buffer::bytes_in_use() > output_bytes_max; }
  bool must_end_turn() const { return is_ending_turn_ && is_over_limit(); }

  /// Number of turns so far.
  unsigned long turn() const { return turn_; }

  /// Called at the end of a turn: before anything is written, and after.
  std::function<void()> before_writes = [] {};
  std::function<void()> after_writes = [] {};

  /// Schedules on_deadline() of this socket, with a precision of a quarter of a second; replaces an
  /// earlier deadline. Keeps the socket alive until then.
  void set_deadline(std::shared_ptr<Wire> wire, std::chrono::milliseconds from_now);
  void clear_deadline(Wire& wire) { deadlines_.erase(&wire); }

  std::size_t deadlines() const { return deadlines_.size(); }
  /// Returns up to this many dispensable sockets among those with a deadline: least important
  /// first, and of equal ones the one whose deadline was set first.
  std::vector<std::shared_ptr<Wire>> dispensable(std::size_t count) const;
  /// Every socket with a deadline.
  std::vector<std::shared_ptr<Wire>> with_deadline() const;

 private:
  struct Deadline {
    std::shared_ptr<Wire> wire;
    Time at;
    Time set;
  };

  struct Turn {
    Batches batches;
    std::vector<std::shared_ptr<Wire>> wires;
  };

  void end_turn();
  void flush_ending_turn();
  template <class Call>
  void call_each(const std::vector<std::shared_ptr<Wire>>& wires, Call call);
  void run_next_turn();
  void check_deadlines_later();
  void drop_unfinished();

  asio::io_context context_{
      BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};  // sockets and timers need no locks: one thread owns
                                               // them all
  ReadBuffer read_buffer_;
  /// The output of this turn, and that of the turn being ended: writing may give sockets new
  /// output.
  std::unique_ptr<Turn> this_turn_ = std::make_unique<Turn>();
  std::unique_ptr<Turn> ending_turn_ = std::make_unique<Turn>();
  std::vector<std::shared_ptr<Wire>> next_turn_;
  std::unordered_map<Wire*, Deadline> deadlines_;
  std::list<Wire*> unfinished_;  ///< the longest waiting first
  std::size_t unfinished_bytes_ = 0;
  bool is_dropping_unfinished_ = false;
  Timer deadline_timer_{context_.get_executor()};
  bool is_ending_turn_ = false;
  bool is_checking_deadlines_ = false;
  unsigned long turn_ = 0;
};

}  // namespace sidekick::host
