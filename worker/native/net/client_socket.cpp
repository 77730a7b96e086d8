#include "net/client_socket.hpp"

namespace sidekick::host {

namespace {

constexpr std::chrono::milliseconds close_handshake_time{5000};
constexpr std::chrono::milliseconds linger_time{2000};
/// A socket with more unsent bytes than this is not read: otherwise its peer could make us write
/// what it never reads. Broadcasts continue.
constexpr std::size_t unsent_bytes_read_max = 64 * 1024;
/// Maximum number of fragments per message. Each costs time, however small it is.
constexpr unsigned message_pieces_max = 1024;
/// Buffer space that a quiet socket keeps for its next bytes.
constexpr std::size_t kept_bytes_max = 512;

void shrink(std::string& text) {
  text.clear();
  if (text.capacity() > kept_bytes_max) text.shrink_to_fit();
}

}  // namespace

void ClientSocket::start(std::string_view bytes) {
  keep(bytes);
  go_on();
}

bool ClientSocket::wants_bytes() const {
  if (is_peer_closed_ || has_turn_) return false;
  if (is_ending_) return true;  // so that the peer's close frame is seen
  return unsent_bytes() <= unsent_bytes_read_max;
}

void ClientSocket::on_bytes(std::span<char> bytes) {
  if (!pending_.empty()) {
    pending_.append(bytes.data(), bytes.size());
    is_waiting_for_more_ = false;
    return on_turn();
  }
  const std::size_t taken = take_frame(bytes);
  if (!is_closed()) keep(bytes.subspan(taken));
  is_waiting_for_more_ = taken == 0;
  go_on();
}

/// Handles one buffered frame.
void ClientSocket::on_turn() {
  has_turn_ = false;
  if (is_closed() || is_finishing()) return;
  if (loop().must_end_turn()) return go_on();
  if (!is_ending_ && unsent_bytes() > unsent_bytes_read_max)
    return;  // go_on() is called when the peer has taken it
  const std::size_t taken = take_frame(std::span(pending_).subspan(pending_at_));
  pending_at_ += taken;
  is_waiting_for_more_ = taken == 0;
  if (pending_at_ == pending_.size()) {
    shrink(pending_);
    pending_at_ = 0;
  } else if (is_waiting_for_more_) {
    pending_.erase(0, pending_at_);
    pending_at_ = 0;
  }
  go_on();
}

void ClientSocket::keep(std::span<const char> rest) { pending_.append(rest.data(), rest.size()); }

/// Handles the next frame in the next turn if there is one, otherwise reads.
void ClientSocket::go_on() {
  keep_unfinished(pending_.size() - pending_at_ + message_.size());
  if (is_closed() || has_turn_ || is_peer_closed_) return;
  if (!pending_.empty() && !is_waiting_for_more_) {
    has_turn_ = true;
    loop().call_next_turn(shared_from_this());
  } else {
    arm_read();
  }
}

/// Returns the number of bytes consumed; 0 means that the frame is incomplete.
std::size_t ClientSocket::take_frame(std::span<char> bytes) {
  const FrameHeader header = decode_frame_header(bytes, message_pieces_ > 0);
  if (header.wrong != nullptr) return fail(close_protocol_error, header.wrong), bytes.size();
  const bool is_control = header.opcode >= opcode_close;
  const std::size_t room =
      is_control ? header.payload_bytes : rules_.message_bytes_max - message_.size();
  if (header.payload_bytes > room)
    return fail(close_too_large, "message exceeds the limit (frame_bytes_max)"), bytes.size();
  if (header.header_bytes == 0) return 0;
  if (bytes.size() - header.header_bytes < header.payload_bytes) return 0;
  const std::span<char> payload = bytes.subspan(header.header_bytes, header.payload_bytes);
  unmask(payload, header.mask);
  on_frame(header, payload);
  return header.header_bytes + payload.size();
}

void ClientSocket::on_frame(const FrameHeader& header, std::span<char> payload) {
  const std::string_view bytes(payload.data(), payload.size());
  switch (header.opcode) {
    case opcode_close:
      return on_close_frame(bytes);
    case opcode_ping:
      if (!is_ending_) send(control_frame(opcode_pong, bytes));
      return;
    case opcode_pong:
      return;
    default:
      break;
  }
  if (is_ending_) return;
  if (header.is_final && message_pieces_ == 0) {
    keep_unfinished(0);
    return rules_.taker.on_message(*this, bytes, header.opcode == opcode_text);
  }
  if (message_pieces_ == 0) {
    is_message_text_ = header.opcode == opcode_text;
    message_utf8_ = {};
  }
  if (++message_pieces_ > message_pieces_max)
    return fail(close_policy, "a message has too many fragments");
  // At once, not when the message is complete: RFC 6455, section 8.1. The hub judges the whole.
  if (is_message_text_ && !message_utf8_.take(bytes))
    return fail(close_invalid_text, "a text message must be UTF-8");
  message_ += bytes;
  if (!header.is_final) return;
  message_pieces_ = 0;
  const std::string whole = std::move(message_);
  message_ = {};
  keep_unfinished(0);
  rules_.taker.on_message(*this, whole, is_message_text_);
}

void ClientSocket::on_close_frame(std::string_view payload) {
  const u16 code = close_code_of(payload);
  if (code == close_protocol_error)
    return fail(close_protocol_error, "a close frame has an invalid code");
  code_ = code;
  is_peer_closed_ = true;
  if (!is_ending_) send(control_frame(opcode_close, close_payload(code, {})));
  is_ending_ = true;
  finish(linger_time);
  tell_closed({});
}

/// The peer violates the protocol: it is not read any more.
void ClientSocket::fail(u16 code, const char* why) {
  if (!is_ending_) send(control_frame(opcode_close, close_payload(code, why)));
  is_ending_ = true;
  is_peer_closed_ = true;
  finish(linger_time);
  tell_closed(why);
}

void ClientSocket::end(u16 code, std::string_view reason) {
  if (is_ending_ || is_closed()) return;
  send(control_frame(opcode_close, close_payload(code, reason)));
  is_ending_ = true;
  loop().set_deadline(shared_from_this(), close_handshake_time);
  go_on();
}

void ClientSocket::withhold() {
  drop_turn();
  if (is_ending_) lost("the request of its last turn is no longer valid");
}

void ClientSocket::flush_turn() {
  const Batch* batch = take_turn();
  if (batch == nullptr || is_closed()) return Wire::flush_turn();
  const std::size_t waiting = unsent_bytes();
  // A peer that has taken everything so far is never over the limit.
  if (!is_ending_ && waiting > 0 && waiting + batch->bytes > rules_.client_buffer_bytes_max)
    return rules_.taker.on_lagging(*this, waiting + batch->bytes);
  write(*batch);
  Wire::flush_turn();
}

void ClientSocket::on_lost(const std::string& why) { tell_closed(why); }

/// As soon as nothing more can come from it, so that what it held is free when its user reconnects.
void ClientSocket::tell_closed(const std::string& why) {
  is_ending_ = true;
  if (!std::exchange(is_told_, true)) rules_.taker.on_closed(*this, code_, why);
}

unsigned ClientSocket::silent_rounds() {
  // A paused socket shows life by taking what is written.
  const unsigned bytes = wants_bytes() ? bytes_read() : bytes_written();
  silent_rounds_ = bytes == seen_bytes_ ? silent_rounds_ + 1 : 0;
  seen_bytes_ = bytes;
  return silent_rounds_;
}

}  // namespace sidekick::host
