// Bytes -> typed messages: the frames of clients and the bodies of the app server. Reads and
// rejects; changes nothing. This file and limits.def define what a peer may send, in which shape
// and up to which size.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sidekick/border.hpp"
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

  std::optional<Bytes> channel;  ///< absent if none could be read
  std::vector<Param> params;     ///< in the order received
  bool has_params = false;
};

/// Writes `{ "roomId": "1" }`.
template <class Out>
void append_params(Out& out, const Scope& scope);

/// Writes `, "id": 6`; nothing for 0.
inline void append_id(TextArena& out, u64 id) {
  if (id != 0) out.write({", \"id\": ", Digits(id)});
}

/// Writes the topic of a channel, the same for every order of the params and for no other channel
/// or params: protocol.md, "Topics": keys in byte order; `,` `:` `/` `\` escaped by a backslash.
/// Replaces `out`.
void name_channel_topic(std::string& out, const Scope& scope);

/// Writes the topic of a resource. Replaces `out`.
void name_resource_topic(std::string& out, Bytes resource);

/// A decoded message or body. The decode call determines which members are set. Views are valid
/// until the next decode.
struct Message {
  MessageType type = MessageType::ping;
  Bytes token;
  Scope scope;
  std::optional<Bytes> data;     ///< as written
  std::optional<Bytes> context;  ///< as written
  std::vector<Bytes> resources;  ///< decoded, in the order received, with duplicates

  // Of clients that say hello; 0 or absent for all others.
  u64 id = 0;
  std::optional<Bytes> hello;  ///< the session
  std::optional<u64> since;    ///< a position
  Bytes epoch;                 ///< of the position, as written
  bool again = false;          ///< a repeat
};

/// Decodes into buffers that are reused from call to call. Every method returns an empty text, or
/// what is wrong and where; in that case `message()` still has the channel and params if those
/// could be read (an error reply names them). The text is valid until the next decode.
class MessageDecoder {
 public:
  explicit MessageDecoder(const Config& config) : config_(config) {}

  /// has_session: the client has said hello. Otherwise a frame that does not say it is decoded as
  /// if the members of the extension were any others.
  const std::string& decode_frame(Bytes frame, bool has_session);

  /// Of a frame that is refused unread: sets only the id, if `type` and `id` come first.
  void peek_id(Bytes frame);

  const std::string& decode_connection(Bytes body);
  const std::string& decode_channel_message(Bytes body);
  const std::string& decode_resources(Bytes body);

  const Message& message() const { return message_; }

  /// The code of the error that the latest decode returned.
  ErrorCode code() const { return code_; }

 private:
  enum Field : u8 {
    type,
    token,
    channel,
    params,
    data,
    context,
    resources,
    hello,  // from here on members of the extension
    id,
    since,
    epoch,
    again,
    field_count
  };
  struct Member {
    ion::Slice value;
    u32 offset = 0;
  };

  // Each returns false and records the error if it finds one.
  void reset(Bytes text);
  bool has(Field field) const { return (present_ >> field & 1) != 0; }
  bool read_members(Bytes text);
  bool read_type();
  bool read_token();
  bool read_scope();
  bool read_channel();
  bool read_params();
  bool read_param(const ion::Slice& key, const ion::Slice& value);
  bool read_resources();
  bool read_resource(const ion::Slice& value);
  bool read_extension();
  bool read_hello();
  bool read_since();
  bool read_again();
  bool read_number(Field field, u64 lowest, u64& out);
  bool require(Field field, ion::Kind kind);
  void read_raw(Field field, std::optional<Bytes>& raw);
  Bytes decoded(const ion::Slice& slice);
  u32 offset_of(Bytes slice) const { return static_cast<u32>(slice.data() - text_.data()); }

  /// Keeps the first error. Returns false, for the caller to return.
  template <class... Parts>
  bool refuse(ErrorCode code, Form<std::type_identity_t<Parts>...> form, const Parts&... parts) {
    if (!wrong_.empty()) return false;
    code_ = code;
    append_form(wrong_, form, parts...);
    return false;
  }

  const Config& config_;
  Bytes text_;
  Member members_[field_count];
  u32 present_ = 0;            // of members_: a bit for each Field
  u8 repeated_ = field_count;  // a member of the extension that is there twice
  u32 repeated_at_ = 0;
  Message message_;
  std::string wrong_;  // the first error, or empty
  ErrorCode code_ = ErrorCode::ok;
  TextArena scratch_;  // decoded strings that contained escapes
  std::string decoded_;
};

}  // namespace sidekick
