// A hub's knowledge of the engine that several Sidekicks share: its shards, the topics that the hub
// wants from them, and the calls under way. Decides nothing.
#pragma once

#include <string>
#include <vector>

#include "base/hash_index.hpp"
#include "sidekick/config.hpp"
#include "tables/topics.hpp"

namespace sidekick {

/// A token that was registered before there was an engine.
struct HandedToken {
  std::string token;
  std::string record;
  Millis expires_at = 0;
};

/// One independent part of the engine. It gives a stamp to each change of its topics, in
/// microseconds and always rising.
struct Shard {
  bool is_up = false;
  bool is_synced = false;   ///< since it came up: frames and requests may use it
  bool needs_sync = false;  ///< the next heartbeat asks for one
  Millis down_at = 0;       ///< since then it cannot be used; 0: it never could
  std::string epoch;        ///< as the engine names its history; empty: not known yet
  std::string server;       ///< the process that runs the engine
  u64 top = 0;              ///< the highest stamp seen in this epoch
  u64 position = 0;         ///< this hub has received every change up to it
  u64 received = 0;         ///< the highest stamp of the messages of this connection

  /// From engine_down until all clients know what they have missed: the position stands still.
  bool is_resyncing = true;
  std::vector<u32> rejoining;   ///< interests
  u32 rejoined = 0;             ///< of these
  u32 batches = 0;              ///< calls under way for these
  bool is_all_changed = false;  ///< the changes are not known: every listener is told
  u64 synced_at = 0;            ///< the engine's last stamp, when it answered

  // Tokens that this hub holds, whose state the engine has to confirm.
  std::vector<std::string> reclaiming;
  u32 reclaimed = 0;  ///< of these
  u32 reclaims = 0;   ///< calls under way
  u32 reclaim_deadline = none;

  /// Tokens that sessions have released, of which the engine does not know yet.
  struct Release {
    std::string token;
    std::string session;
    u32 keep_ms = 0;  ///< how long the token stays usable
  };
  std::vector<Release> releases;

  std::vector<u32> histories;  ///< calls for missed messages that wait for the answers before them
  u32 histories_under_way = 0;

  /// Tokens that the shard does not know yet.
  std::vector<HandedToken> handed;
  u32 handing = 0;  ///< calls under way for these

  u32 told = 0;         ///< topics of those below; see Due::resync
  u32 to_tell = 0;      ///< slots of topics
  u32 tell_first = 0;   ///< where it starts
  u32 deadline = none;  ///< of the next part

  bool is_ready() const { return is_up && is_synced; }
};

/// A topic's subscription in the engine. It outlives the last listener by topic_linger_ms.
struct Interest {
  enum class State : u8 { wanted, joining, joined };

  TopicId topic = none;  ///< none: this slot is unused
  State state = State::wanted;
  u32 shard = 0;
  u32 call = 0;         ///< that frames wait for while it is joining or recovering
  u32 deadline = none;  ///< while it lingers
  u64 received = 0;     ///< the stamp of its latest message
  u32 awaited = 0;      ///< messages that wait for it, and answers: until then it is not left

  // Of a channel: while older messages are on their way, newer ones wait here for them.
  struct Message {
    u64 at = 0;
    std::string text;
  };
  bool is_recovering = false;  ///< for its subscribers: since it was joined again
  u32 recoveries = 0;          ///< for single clients
  bool is_overflown = false;   ///< messages are missing here (engine_buffer_bytes_max)
  u64 recovered = 0;           ///< messages up to this stamp were delivered
  bool is_lost = false;        ///< messages are lost, and its subscribers are not told yet
  std::vector<Message> buffered;
};

/// A frame or request that waits for an answer.
struct Waiter {
  u32 parked = none;
  u64 serial = 0;
};

/// Why the hub made a call, and so what it does with the answer. The metrics have one for each, in
/// this order.
enum class Purpose : u8 {
  sync,
  join,      // of topics for frames that wait
  rejoin,    // of topics that were joined before
  catch_up,  // which of the rejoined have changed?
  changed,   // which of a frame's resources have changed?
  update,    // POST /resources
  message,   // POST /message
  add,       // POST /connection
  claim,
  erase,
  release,
  reclaim,
  history,  // the missed messages of one client
  replay,   // the missed messages of a channel
  hand_over
};

struct Call {
  Call() = default;
  Call(Purpose of, u32 at_shard) : shard(at_shard), purpose(of) {}

  u32 number = 0;  ///< 0: this slot is unused
  u32 shard = 0;
  Purpose purpose = Purpose::sync;
  std::vector<u32> interests;  ///< of the topics, in the order of the arguments; not of `changed`
  u32 first = 0;  ///< of `changed`: the place of the first topic among those of this shard
  u32 count = 0;  ///< of `changed`: the number of topics
  std::vector<Waiter> waiters;
  std::string token;                  ///< of `claim`, `erase` and `hand_over`
  std::string session;                ///< the same
  bool is_doubted = false;            ///< the same: the engine is asked who has it afterwards
  u32 keep_ms = 0;                    ///< of `release`: see Shard::Release
  std::string epoch;                  ///< of `history` and `replay`
  u64 since = 0;                      ///< the same
  bool is_queued = false;             ///< the same: the engine has not been asked yet
  std::vector<std::string> tokens;    ///< of `reclaim` and `release`
  std::vector<std::string> sessions;  ///< the same
  HandedToken handed;                 ///< of `hand_over`
};

/// Reads a stamp, or another number of the engine. Clients get stamps, so the limit is number_max.
bool decode_stamp(Bytes text, u64& out);

class Engine {
 public:
  explicit Engine(const Config& config)
      : shards_(config.engine_shards), hash_seed_(config.hash_seed) {}

  /// Whether there is an engine. If not, nothing else here is used.
  bool is_on() const { return !shards_.empty(); }

  u32 shard_count() const { return static_cast<u32>(shards_.size()); }
  Shard& shard(u32 index) { return shards_[index]; }
  const std::vector<Shard>& shards() const { return shards_; }
  /// The same on every hub.
  u32 shard_of(Bytes name) const { return static_cast<u32>(hash_bytes(0, name) % shards_.size()); }

  /// The engine's epoch for clients. With several shards it depends on the epochs of all: a new one
  /// of any shard is a new one for clients.
  std::string epoch() const;
  /// The epoch to ask a shard with for a client that names this one.
  Bytes epoch_of(u32 shard, Bytes told) const {
    return told == epoch() ? shards_[shard].epoch : told;
  }

  /// The position for clients. Each shard has stamps of its own, so this is the lowest position of
  /// all shards: a lower one is safe, a higher one loses messages.
  u64 position() const;
  /// The same if this shard's position is known to be `at`.
  u64 position(u32 shard, u64 at) const;
  /// The position for a new listener: it has not missed anything before.
  u64 position_of(u32 shard) const { return std::max(shards_[shard].position, passed_); }
  /// Without heartbeats, positions of new listeners follow the clock of this hub: all later stamps
  /// are above `at`.
  void pass(u64 at) { passed_ = at; }

  u32 interest_of(TopicId topic) const {
    return topic < interest_of_.size() ? interest_of_[topic] : none;
  }
  Interest& interest(u32 id) { return interests_[id]; }

  /// Keeps a message until older ones are there. The quantity that engine_buffer_bytes_max limits
  /// is the size of these and 128 bytes each.
  void buffer(Interest& interest, u64 at, Bytes text, u32 bytes_max);
  void clear_buffer(Interest& interest);
  const std::vector<Interest>& interests() const { return interests_.slots(); }
  /// Returns the topic's interest; makes one that is `wanted` if there is none.
  u32 want(TopicId topic, Bytes name);
  void forget(u32 interest);

  /// `call.number` is set here. The reference is valid until the next call.
  Call& begin_call(Call call);
  /// Returns nullptr if there is no such call (any more).
  Call* find_call(u32 number);
  Call end_call(u32 number);
  /// A `claim`, `erase` or `hand_over` of this token, or nullptr: there is at most one.
  Call* find_call_of(Bytes token);
  u32 call_count() const { return calls_.size(); }
  const std::vector<Call>& calls() const { return calls_.slots(); }
  /// Of calls about a token: whatever the answer says, the engine is asked again.
  void doubt_calls(u32 shard);

 private:
  static u64 hash(u32 number) { return hash_number(0, number); }
  u32 slot_of(u32 number) const {
    return index_.find(hash(number), [&](u32 slot) { return calls_[slot].number == number; });
  }

  u64 token_hash(Bytes token) const { return hash_bytes(hash_seed_, token); }

  std::vector<Shard> shards_;
  u64 hash_seed_;
  Pool<Interest> interests_;
  std::vector<u32> interest_of_;  // by topic
  Pool<Call> calls_;
  HashIndex index_;   // of calls, by number
  HashIndex tokens_;  // of calls, by token
  u32 last_call_ = 0;
  u64 passed_ = 0;
  u64 buffered_bytes_ = 0;
};

}  // namespace sidekick
