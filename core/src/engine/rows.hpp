// The rows of a durable shard: the layout of their keys and values, and the list of rows that the
// host has not yet taken to store. Decides nothing. Rows outlive versions: a kind keeps its layout.
#pragma once

#include <optional>
#include <utility>

#include "sidekick/shard.hpp"

namespace sidekick::engine {

/// A key begins with its kind. In ascending order of keys, a channel's messages come oldest first.
enum class RowKind : char { bound = 'b', message = 'm', node = 'n', token = 't' };

/// The node of a token that is erased.
inline constexpr Bytes erased_node = "-";

struct TokenRow {
  std::optional<Bytes> record, node, session;
  u64 registered = 0;
  Millis expires_at = 0;
};

struct NodeRow {
  bool is_attached = false;
  bool has_lease = false;
  Millis lease_until = 0;  ///< 0: forever
};

struct MessageRow {
  u64 before = 0;
  Millis expires_at = 0;
  Bytes text;
};

/// Off, it records nothing. It is on only if the shard is durable.
class Rows {
 public:
  explicit Rows(bool is_on) : is_on_(is_on) {}

  bool is_on() const { return is_on_; }

  void put_token(Bytes name, const TokenRow& row);
  void put_node(Bytes name, const NodeRow& row);
  void put_message(Bytes topic, u64 at, const MessageRow& row);
  /// All issued stamps are at or below it.
  void put_bound(u64 at);
  void erase_token(Bytes name);
  void erase_node(Bytes name);
  void erase_message(Bytes topic, u64 at);

  std::vector<Shard::Row> take() { return std::exchange(rows_, {}); }

 private:
  void put(RowKind kind, std::initializer_list<Bytes> key, std::string value);
  void erase(RowKind kind, std::initializer_list<Bytes> key);

  bool is_on_;
  std::vector<Shard::Row> rows_;
};

// Each returns false if the value is not one that put_... has written.
bool decode_token_row(Bytes value, TokenRow& row);
bool decode_node_row(Bytes value, NodeRow& row);
bool decode_message_row(Bytes value, MessageRow& row);
bool decode_bound(Bytes value, u64& at);
/// Without its kind.
bool decode_message_key(Bytes key, Bytes& topic, u64& at);

}  // namespace sidekick::engine
