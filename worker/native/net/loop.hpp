// The event loop and its turns. What the events of one turn have for the sockets is kept until the
// turn is over: then it is made durable, then every socket that is owed something gets one write.
// Owns the sockets' deadlines, too. One thread.
#pragma once

#include <array>
#include <chrono>
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

  /// For whoever reads: its content is lost with the next event.
  ReadBuffer& read_buffer() { return read_buffer_; }

  /// Adds a frame to what this turn has for a socket.
  const Batch* add(const Batch* batch, const Buffer::Ptr& frame) {
    return this_turn_->batches.with(batch, frame);
  }
  /// flush_turn() of this socket is to be called when the turn is over.
  void flush_later(std::shared_ptr<Wire> wire);
  /// The turn must be ended, though perhaps no socket is owed anything.
  void end_turn_later();
  /// on_turn() of this socket is to be called in the next turn.
  void call_next_turn(std::shared_ptr<Wire> wire);

  /// Bytes that connections keep because the rest of a message, or of a request's head, is still to
  /// come. When all of them together keep too much, those who have been at it for longest are lost:
  /// not at once, but right after the event at hand, which may concern another one.
  std::list<Wire*>::iterator begin_unfinished(Wire& wire) {
    return unfinished_.insert(unfinished_.end(), &wire);
  }
  void count_unfinished(std::size_t bytes, std::size_t before);
  void end_unfinished(std::list<Wire*>::iterator place) { unfinished_.erase(place); }

  /// How many turns there have been.
  unsigned long turn() const { return turn_; }

  /// Called when a turn is over: before anything is written, and after.
  std::function<void()> before_writes = [] {};
  std::function<void()> after_writes = [] {};

  /// on_deadline() of this socket is to be called at that time, within a quarter of a second;
  /// replaces the deadline before. Keeps the socket alive until then.
  void set_deadline(std::shared_ptr<Wire> wire, std::chrono::milliseconds from_now);
  void clear_deadline(Wire& wire) { deadlines_.erase(&wire); }

  std::size_t deadlines() const { return deadlines_.size(); }
  /// Up to so many sockets that have a deadline, and that can be done without: those with the least
  /// claim first, and of these the ones whose deadline was set first.
  std::vector<std::shared_ptr<Wire>> dispensable(std::size_t count) const;
  /// Every socket that has a deadline.
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
      BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};  // sockets and timers need no locks: one thread has
                                               // them all
  ReadBuffer read_buffer_;
  /// What belongs to this turn, and what belongs to the one that is being ended: sockets may be
  /// owed something by its writes.
  std::unique_ptr<Turn> this_turn_ = std::make_unique<Turn>();
  std::unique_ptr<Turn> ending_turn_ = std::make_unique<Turn>();
  std::vector<std::shared_ptr<Wire>> next_turn_;
  std::unordered_map<Wire*, Deadline> deadlines_;
  std::list<Wire*> unfinished_;  ///< the one that has been for longest first
  std::size_t unfinished_bytes_ = 0;
  bool is_dropping_unfinished_ = false;
  Timer deadline_timer_{context_.get_executor()};
  bool is_ending_turn_ = false;
  bool is_checking_deadlines_ = false;
  unsigned long turn_ = 0;
};

}  // namespace sidekick::host
