// Bytes -> typed messages: the frames of clients and the bodies of the app server. Reads and refuses; changes nothing.
// What a peer may say, in which shape and up to which size, stands here and in limits.def.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sidekick/config.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

namespace sidekick {

enum class MessageType : u8 { subscribe, unsubscribe, send, listen, unlisten, ping };

/// A channel and its params as a peer named them, decoded.
struct Scope {
  struct Param {
    Bytes name;
    Bytes value;
  };

  std::optional<Bytes> channel;  ///< absent where none could be read
  std::vector<Param> params;     ///< in the order given
  bool has_params = false;
};

/// Writes `{ "roomId": "1" }`.
template <class Out>
void append_params(Out& out, const Scope& scope);

/// The topic of a channel, the same for every order of the params and for no other channel and params: protocol.md "Topic Naming",
/// keys in byte order, and `,` `:` `/` `\` escaped by a backslash. Replaces `out`.
void name_channel_topic(std::string& out, const Scope& scope);

/// The topic of a resource. Replaces `out`.
void name_resource_topic(std::string& out, Bytes resource);

/// A decoded message or body. Which members are filled depends on what was decoded. Views are valid until the next decode.
struct Message {
  MessageType type = MessageType::ping;
  Bytes token;
  Scope scope;
  std::optional<Bytes> data;     ///< as written
  std::optional<Bytes> context;  ///< as written
  std::vector<Bytes> resources;  ///< decoded, in the order given, with duplicates
};

/// Decodes into buffers that are reused from call to call. Every method returns an empty text, or what is wrong and where; then `message()`
/// still has the channel and params if those could be read (an error reply names them).
class MessageDecoder {
 public:
  explicit MessageDecoder(const Config& config) : config_(config) {}

  std::string decode_frame(Bytes frame);
  std::string decode_connection(Bytes body);
  std::string decode_channel_message(Bytes body);
  std::string decode_resources(Bytes body);

  const Message& message() const { return message_; }

 private:
  enum Field : u8 { type, token, channel, params, data, context, resources, field_count };
  struct Member {
    ion::Slice value;
    u32 offset = 0;
    bool is_present = false;
  };

  std::string read_members(Bytes text);
  std::string read_type();
  std::string read_token();
  std::string read_scope();
  std::string read_channel();
  std::string read_params();
  std::string read_resources();
  std::string require(Field field, ion::Kind kind);
  std::string refuse_size(Bytes what, u64 size, u64 size_max, Bytes limit) const;
  void read_raw(Field field, std::optional<Bytes>& raw);
  Bytes decoded(const ion::Slice& slice);

  static Bytes name_of(Field field);

  const Config& config_;
  Bytes text_;
  Member members_[field_count];
  Message message_;
  TextArena scratch_;      // decoded strings that had escapes
  std::string decoded_;
};

}  // namespace sidekick
