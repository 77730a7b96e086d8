// The engine as a machine: what several hubs share. It orders messages, keeps tokens and remembers
// changes, and gives the same answers as the scripts in worker/engine, which do so in Redis. No
// clock, no randomness, no I/O, no threads, no globals.
//
// A durable shard also returns rows for its host to store, and is restored from them: tokens,
// channel history, attached nodes, leases, and an upper bound of the stamps. A restore loses the
// change log and the joins. So `changed` then answers `all` for earlier positions, and each
// attached node receives the messages of all topics until it has told which ones it has joined.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::engine {

struct ShardConfig {
  u64 hash_seed = 0;  ///< secret: strangers choose names; changes no answer
  /// Memory for all that is stored and joined, rounded up; above it, the shard is full. Scripts
  /// that run even then (engine.def) can exceed it, by the tokens that the nodes hold. Joins take
  /// at most half: beyond that, the node with most of them receives all topics, as after a restore.
  u64 bytes_max = 256u << 20;
  /// Of the arguments of one script, together; at least twice the largest message.
  u64 run_bytes_max = 64u << 20;
  /// If not empty, the shard is durable and this is its epoch, which no script changes.
  std::string epoch = {};  // NOLINT(*-redundant-member-init): GCC misses it in {.hash_seed = 1}
};

class Shard {
 public:
  /// status 0: done, with the values of the script. 1: refused, with a text; nothing has changed.
  struct Answer {
    u32 status = 0;
    std::vector<std::string> values;
  };

  /// A message, and the nodes that receive it: at least one. topic: empty for their inboxes.
  struct Publication {
    std::vector<std::string> nodes;
    std::string topic;
    std::string body;
  };

  struct Hold {
    std::string token;
    std::string node;
    std::string session;
    Millis expires_at = 0;  ///< engine_keep_ms after it was last claimed or reclaimed
  };

  /// A row for the host of a durable shard to store. Without a value: to delete.
  struct Row {
    std::string key;
    std::optional<std::string> value;
  };

  /// Creates an empty shard. server: names the process that runs it, so it differs after each
  /// restart. Of a durable shard it never changes.
  explicit Shard(Bytes server, const ShardConfig& config = {});
  ~Shard();
  Shard(const Shard& other);  ///< a snapshot, or the other one of two primaries
  Shard& operator=(const Shard& other);

  /// Runs a script of engine.def. now_us: microseconds since the Unix epoch; a value earlier than
  /// the latest one is fine. What expires is gone for good once a later call has seen it expired.
  Answer run(u64 now_us, Bytes script, std::span<const Bytes> args);

  /// A node opens its connection for messages: from here on it receives those of its inbox.
  void attach(Bytes node);
  /// It has lost that connection, and all joins with it.
  void detach(Bytes node);
  /// From here on the node receives the messages of these topics; each once, even if it joins
  /// twice. Returns false if it is not attached, which changes nothing.
  bool join(Bytes node, std::span<const Bytes> topics);
  bool leave(Bytes node, std::span<const Bytes> topics);
  /// The node's answer to `joins` in its inbox: it has joined these topics and no others.
  bool replace_joins(Bytes node, std::span<const Bytes> topics);

  /// Returns what nodes receive since the last call of this, in its order, and forgets it.
  std::vector<Publication> take_publications();

  // Of a durable shard, call first restore() with each stored row, in ascending order of the keys,
  // then restored(), then any other method.

  /// Returns false if the row is ignored: it is damaged, or of a newer version.
  bool restore(Bytes key, Bytes value);
  void restored(u64 now_us);
  /// Returns the rows to store since its last call, in this order, and forgets them. If the host
  /// cannot store them, it must drop the shard, and must not send anything that followed from them.
  std::vector<Row> take_rows();
  /// Removes expired data. A call that comes early or late changes no answer.
  void tick(u64 now_us);
  /// When tick() removes something, rounded up so that alarms are few; 0: never.
  Millis alarm_at() const;

  // For tests; not for a durable shard.

  /// Another process, in which nobody is attached: without data, or with the data of a copy.
  void restart(Bytes server);
  void restart(Bytes server, const Shard& copy);
  /// All data is lost, but no connection.
  void flush();
  /// The memory is full, whatever is stored: scripts without allow-oom are refused.
  void set_full(bool is_full);

  // For tests, monitoring and alarms; as of the latest call.
  u64 stored_bytes() const;  ///< the quantity that bytes_max limits
  std::vector<Hold> holds() const;
  std::vector<std::string> joined(Bytes node) const;  ///< topics, sorted
  bool is_attached(Bytes node) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sidekick::engine
