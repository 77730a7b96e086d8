#include "net/websocket.hpp"

#include <cstring>

#include <openssl/evp.h>
#include <openssl/sha.h>

namespace sidekick::host {

namespace {

constexpr std::size_t control_bytes_max = 125;
constexpr std::size_t reason_bytes_max = control_bytes_max - 2;

const char* mistake_in(std::uint8_t first, std::uint8_t second, bool in_message) {
  const std::uint8_t opcode = first & 0x0f;
  if ((first & 0x70) != 0) return "a reserved bit is set";
  if ((second & 0x80) == 0) return "a frame is not masked";
  switch (opcode) {
    case opcode_continuation:
      return in_message ? nullptr : "a continuation frame without a first frame";
    case opcode_text:
    case opcode_binary:
      return in_message ? "a new message within a fragmented message" : nullptr;
    case opcode_close:
    case opcode_ping:
    case opcode_pong:
      if ((first & 0x80) == 0) return "a fragmented control frame";
      return (second & 0x7f) > control_bytes_max ? "a control frame of more than 125 bytes"
                                                 : nullptr;
    default:
      return "an unknown opcode";
  }
}

}  // namespace

FrameHeader decode_frame_header(std::span<const char> bytes, bool in_message) {
  FrameHeader header;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  if (bytes.size() < 2) return header;
  header.opcode = byte(0) & 0x0f;
  header.is_final = (byte(0) & 0x80) != 0;
  header.wrong = mistake_in(byte(0), byte(1), in_message);
  const std::uint8_t length = byte(1) & 0x7f;
  const std::uint32_t length_bytes = length < 126 ? 0 : length == 126 ? 2 : 8;
  if (header.wrong != nullptr || bytes.size() < 2 + length_bytes) return header;
  header.payload_bytes = length < 126 ? length : 0;
  for (std::uint32_t i = 0; i < length_bytes; ++i)
    header.payload_bytes = header.payload_bytes << 8 | byte(2 + i);
  if (bytes.size() < 2 + length_bytes + 4) return header;
  std::memcpy(header.mask, bytes.data() + 2 + length_bytes, 4);
  header.header_bytes = 2 + length_bytes + 4;
  return header;
}

void unmask(std::span<char> payload, const std::uint8_t (&mask)[4]) {
  std::uint64_t wide;
  std::memcpy(&wide, mask, 4);
  std::memcpy(reinterpret_cast<char*>(&wide) + 4, mask, 4);
  std::size_t at = 0;
  for (; at + 8 <= payload.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, payload.data() + at, 8);
    word ^= wide;
    std::memcpy(payload.data() + at, &word, 8);
  }
  for (; at < payload.size(); ++at) payload[at] = static_cast<char>(payload[at] ^ mask[at % 4]);
}

std::uint16_t close_code_of(std::string_view payload) {
  if (payload.empty()) return close_none;
  if (payload.size() == 1) return close_protocol_error;
  const auto code = static_cast<std::uint16_t>(static_cast<std::uint8_t>(payload[0]) << 8 |
                                               static_cast<std::uint8_t>(payload[1]));
  const bool is_defined =
      code >= 1000 && code <= 1014 && code != 1004 && code != close_none && code != close_abnormal;
  return is_defined || (code >= 3000 && code <= 4999) ? code : close_protocol_error;
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
  if (code == close_none) return {};
  if (reason.size() > reason_bytes_max) {
    std::size_t end = reason_bytes_max;
    while (end > 0 && (static_cast<std::uint8_t>(reason[end]) & 0xc0) == 0x80) --end;
    reason = reason.substr(0, end);
  }
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  return payload.append(reason);
}

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  unsigned char encoded[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1];
  const int size = EVP_EncodeBlock(encoded, digest, SHA_DIGEST_LENGTH);
  return std::string(reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(size));
}

bool Utf8Parts::take(std::string_view part) {
  for (const char c : part) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (missing_ > 0) {
      if (byte < lowest_ || byte > highest_) return false;
      --missing_;
      lowest_ = 0x80;
      highest_ = 0xbf;
    } else if (byte >= 0x80) {
      if (byte < 0xc2 || byte > 0xf4) return false;
      missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
      if (byte == 0xe0) lowest_ = 0xa0;   // below: an overlong form
      if (byte == 0xed) highest_ = 0x9f;  // above: a surrogate
      if (byte == 0xf0) lowest_ = 0x90;   // below: an overlong form
      if (byte == 0xf4) highest_ = 0x8f;  // above: not in Unicode
    }
  }
  return true;
}

}  // namespace sidekick::host
