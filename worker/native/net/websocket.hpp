// RFC 6455 framing and handshake for a server. Our own code rather than Boost.Beast's reader,
// because Beast rejects invalid UTF-8 by itself, while here the hub answers and says where it is
// wrong, and because Beast has buffers per socket. Text in, values out: knows no socket.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sidekick::host {

enum Opcode : std::uint8_t {
  opcode_continuation = 0,
  opcode_text = 1,
  opcode_binary = 2,
  opcode_close = 8,
  opcode_ping = 9,
  opcode_pong = 10
};

inline constexpr std::uint16_t close_going_away = 1001;
inline constexpr std::uint16_t close_protocol_error = 1002;
inline constexpr std::uint16_t close_none =
    1005;  // never on the wire: the peer's close frame had no code
inline constexpr std::uint16_t close_abnormal =
    1006;  // never on the wire: there was no close frame
inline constexpr std::uint16_t close_invalid_text = 1007;
inline constexpr std::uint16_t close_policy = 1008;
inline constexpr std::uint16_t close_too_large = 1009;
inline constexpr std::uint16_t close_internal_error = 1011;

struct FrameHeader {
  std::uint8_t opcode = 0;
  bool is_final = false;
  std::uint32_t header_bytes = 0;  ///< 0: the header is incomplete
  std::uint64_t payload_bytes =
      0;  ///< set as soon as it is known, even if the rest of the header is missing
  std::uint8_t mask[4] = {};
  const char* wrong = nullptr;  ///< how the peer violates the protocol, if it does
};

/// Reads the frame header at the start of `bytes`. in_message: a fragmented message has started and
/// not ended.
FrameHeader decode_frame_header(std::span<const char> bytes, bool in_message);

void unmask(std::span<char> payload, const std::uint8_t (&mask)[4]);

/// The code of a close frame's payload; close_protocol_error if it is invalid.
std::uint16_t close_code_of(std::string_view payload);

/// The payload of a close frame: the code and at most 123 bytes of reason, truncated between
/// characters. Empty for close_none.
std::string close_payload(std::uint16_t code, std::string_view reason);

/// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

/// Checks UTF-8 that comes in parts, which may end within a character (RFC 3629, section 4).
class Utf8Parts {
 public:
  /// Returns false if no part that follows can make it UTF-8.
  bool take(std::string_view part);

 private:
  std::uint8_t missing_ = 0;                     // bytes of the current character
  std::uint8_t lowest_ = 0x80, highest_ = 0xbf;  // of the next of them
};

}  // namespace sidekick::host
