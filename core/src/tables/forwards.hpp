// Messages on their way to the app server. Each token has a lane, a FIFO with one message in flight
// at a time (or all of them at once, if configured), so a stalled channel never delays another. A
// lane exists while it has messages; it may outlive its token.
#pragma once

#include <string>
#include <vector>

#include "tables/clients.hpp"

namespace sidekick {

/// The recipient of an error, and the channel the error names.
struct Sender {
  ClientSlot slot = none;
  u64 serial = 0;
};

/// A later connection of the sender's session waits for the outcome of a message, too.
struct Repeat {
  u64 sends = 0;  ///< as in Forward
  u64 message_id = 0;
  Sender sender;
};

/// A message that is queued or in flight. In flight it has no body: the host has it.
struct Forward {
  Sender sender;
  u64 message_id = 0;  ///< of a sender that said hello; 0: none
  u64 sends = 0;       ///< the serial of the token's Sends, if it has a message_id
  std::string scope;   ///< channel and params as ION, for an error reply
  u32 channel_size = 0;
  u32 body_bytes = 0;
  std::string body;

  Bytes channel() const { return Bytes(scope).substr(0, channel_size); }
  Bytes params() const { return Bytes(scope).substr(channel_size); }
};

class Forwards {
 public:
  Forwards(u64 hash_seed, Deadlines& deadlines) : hash_seed_(hash_seed), deadlines_(deadlines) {}

  struct Lane {
    std::vector<Forward> waiting;  ///< oldest first
    u32 in_flight = 0;
    u64 bytes = 0;                ///< of all messages queued or in flight, as counted by cost_of
    TokenId token = none;         ///< none: the token is gone; its messages are still sent
    std::vector<Repeat> repeats;  ///< of these messages, each at most once
    /// With an engine, of a token whose client is gone: holds it until the lane is done.
    std::string session;

    bool is_done() const { return in_flight == 0 && waiting.empty(); }
  };

  struct Flight {
    ForwardId id = 0;
    Forward forward;
    u32 lane = none;
    u32 deadline = none;
    Millis started_at = 0;
  };

  u32 open_lane(TokenId token);
  void close_lane(u32 lane) { lanes_.remove(lane); }
  Lane& lane(u32 id) { return lanes_[id]; }

  void wait(u32 lane, Forward forward);

  void repeat(u32 lane, const Repeat& repeat);
  /// Returns nobody if the message was not repeated.
  Sender take_repeat(u32 lane, const Forward& forward);

  /// Takes the oldest queued message of the lane, which must not be empty.
  Forward take_waiting(u32 lane);

  /// Puts a message in flight for at most `timeout_ms`.
  ForwardId start(u32 lane, Forward forward, Millis now, u32 timeout_ms);

  /// Ids start from the epoch of the hub: see ForwardId.
  void begin(u64 epoch);

  /// Ends a flight and returns it. `id` is 0 if there is no such flight (any more).
  Flight finish(ForwardId id);
  Flight finish_slot(u32 slot);

  /// Lanes that are done and flights with id 0 are unused.
  const std::vector<Lane>& lane_slots() const { return lanes_.slots(); }
  const std::vector<Flight>& flight_slots() const { return flights_.slots(); }
  u32 in_flight_count() const { return flights_.size(); }

  /// The quantity that forward_store_bytes_max limits: messages queued and, because the host holds
  /// their bodies, in flight.
  u64 store_bytes() const { return store_bytes_; }
  static u64 cost_of(const Forward& forward) {
    return forward.body_bytes + forward.scope.size() + 128;
  }

 private:
  u64 hash(ForwardId id) const { return hash_number(hash_seed_, id); }

  void count(u32 lane, const Forward& forward);
  void uncount(u32 lane, const Forward& forward);

  u64 hash_seed_;
  Deadlines& deadlines_;
  Pool<Lane> lanes_;
  Pool<Flight> flights_;
  HashIndex index_;
  ForwardId last_id_ = 0;  // the next id is higher; both parts are described at ForwardId
  u64 started_ = 0;  // total count; unlike ids it never wraps, so it breaks ties between deadlines
  u64 store_bytes_ = 0;
};

}  // namespace sidekick
