// The data of a shard, and its scripts. Each script does the same as worker/engine/NAME.lua, in the
// same order. shard.cpp has checked the arguments of a script before it runs.
#pragma once

#include <map>
#include <optional>

#include "engine/change_log.hpp"
#include "engine/keys.hpp"
#include "engine/rows.hpp"
#include "engine/streams.hpp"
#include "sidekick/shard.hpp"
#include "tables/topics.hpp"

namespace sidekick::engine {

/// All that a restart with the same data keeps.
struct ShardData {
  struct Lease {};
  /// Free: no node. Erased: the node is `-`, and there is no record.
  struct Token {
    std::optional<std::string> record, node, session;
    u64 registered = 0;
  };

  explicit ShardData(u64 hash_seed)
      : leases(hash_seed), tokens(hash_seed), changes(hash_seed), streams(hash_seed) {}

  u64 bytes() const;

  std::optional<std::string> epoch, server;
  u64 at = 0;     ///< the highest stamp
  u64 told = 0;   ///< the latest time that a heartbeat has told
  u64 floor = 0;  ///< changes up to here may be forgotten
  /// Of a durable shard: the highest stamp that may be from before its restore. Of the changes up
  /// to it, the change log knows only the latest message of each channel that has rows.
  u64 restored_to = 0;
  /// The highest stamp of each of the latest 16 former processes.
  std::map<std::string, u64, std::less<>> ends;
  Keys<Lease> leases;
  Keys<Token> tokens;
  ChangeLog changes;
  Streams streams;
};

struct Shard::State {
  using Args = std::span<const Bytes>;
  using Values = std::vector<std::string>;

  State(Bytes server_id, const ShardConfig& settings)
      : config(settings),
        server(server_id),
        data(settings.hash_seed),
        nodes(settings.hash_seed),
        topics(settings.hash_seed),
        rows(is_durable()) {}

#define SIDEKICK_SCRIPT(name, ...) void run_##name(Args args, Values& values);
#include "sidekick/engine.def"

  bool is_durable() const { return !config.epoch.empty(); }
  void begin(u64 now);
  void expire();
  u64 bytes() const { return data.bytes() + join_bytes; }
  bool is_full() const { return is_set_full || bytes() >= config.bytes_max; }
  Millis now_ms() const { return now_us / 1000; }

  void set_open(u32 node, bool is_open);
  void add_joins(u32 node, std::span<const Bytes> names);
  void remove_join(u32 node, TopicId topic);
  void leave_all(u32 node);
  void make_room();
  void publish(Bytes topic, std::string body);
  void publish_to(std::vector<std::string> receivers, Bytes topic, std::string body);
  void publish_to_inbox(Bytes node, std::string body);

  // Shared by the scripts, as in common.lua.
  bool is_alive(Bytes node) const { return data.leases.find(node) != none; }
  u64 position() const { return std::max(data.at, data.told); }  ///< later stamps are above it
  u64 stamp(u64 count);
  void trim(Bytes changes_max);
  bool is_in_future(u64 since) const;

  // Tokens. The id `none` stands for a token that is not stored.
  const ShardData::Token& token(u32 id) const;
  u32 replace_token(Bytes name);
  void expire_token(u32 id, Bytes span_ms);
  void keep_token(u32 id, Millis expires_at);
  void remove_token(u32 id);

  // The rows of a durable shard.
  void keep_lease(Bytes node, Millis until);
  void put_node(Bytes name);
  void put_bound();
  bool restore_token(Bytes name, Bytes value);
  bool restore_node(Bytes name, Bytes value);
  bool restore_message(Bytes key, Bytes value);

  struct Node {
    bool is_open = false;   ///< its joins are unknown, so it gets all topics
    bool has_left = false;  ///< it has left a topic while it was open
    u32 heard = 0;          ///< messages of topics since it is open
    u32 heard_max = 16;     ///< after every so many of these, the shard asks for its joins
    u32 joins = 0;
  };

  const ShardConfig config;
  const std::string server;
  bool is_set_full = false;
  bool is_restoring = is_durable();
  u64 now_us = 0;
  ShardData data;
  Keys<Node> nodes;  ///< that are attached
  u32 open_count = 0;
  Topics topics;  ///< joined by nodes, which are its clients
  u64 join_bytes = 0;
  Rows rows;
  u64 bound = 0;  ///< of the stamps, as stored
  std::vector<Publication> publications;
};

/// Reads an argument that has been checked.
u64 number_of(Bytes digits);

}  // namespace sidekick::engine
