#include "inspect/inspect_session.hpp"

namespace sidekick::host {

namespace http = boost::beast::http;

namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds head_time{10'000};
/// Closing at once would lose the answer. The page is large, and a peer that gets it knows the
/// path.
constexpr Milliseconds linger_time{2'000};
constexpr Milliseconds page_time{60'000};
constexpr u32 head_bytes_max = 16 * 1024;
/// A reader that lags by more than this misses lines.
constexpr std::size_t behind_bytes_max = 8 * 1024 * 1024;

/// Browsers do not cache the page, frame it, or share it with another site.
constexpr std::string_view safe_headers =
    "\r\nCache-Control: no-store\r\nContent-Security-Policy: frame-ancestors 'none'"
    "\r\nCross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin"
    "\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";

std::string head_of(unsigned status, std::string_view content_type) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
  head.append(http::obsolete_reason(static_cast<http::status>(status)));
  head.append("\r\nContent-Type: ").append(content_type).append(safe_headers);
  return head;
}

Buffer::Ptr uncounted(std::string_view text) { return Buffer::copy(text, Buffer::Counts::no); }

}  // namespace

void InspectSession::start() {
  parser_.header_limit(head_bytes_max);
  loop().set_deadline(shared_from_this(), head_time);
  arm_read();
}

void InspectSession::on_bytes(std::span<char> bytes) {
  if (parser_.is_header_done()) return;  // one request per connection
  pending_.append(bytes.data(), bytes.size());
  ErrorCode error;
  pending_.erase(0, parser_.put(asio::buffer(pending_), error));
  if (error && error != http::error::need_more)
    return respond(400, "text/plain", "expected a request in HTTP/1.1\n");
  if (parser_.is_header_done()) taker_.on_request(*this, parser_.get());
}

void InspectSession::respond(unsigned status, std::string_view content_type,
                             std::string_view body) {
  std::string text = head_of(status, content_type);
  text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
  send(uncounted(text.append(body)));
  finish(status == 200 ? page_time : linger_time);
}

void InspectSession::begin_events() {
  is_reader_ = true;
  loop().clear_deadline(*this);
  send(uncounted(head_of(200, "text/event-stream") + "\r\n"));
}

void InspectSession::tell(const Buffer::Ptr& event, u64 lines) {
  if (missed_ > 0 || unsent_bytes() > unsent_bytes_max_)
    missed_ += lines;
  else
    send(event);
}

void InspectSession::catch_up(const Buffer::Ptr& event) {
  missed_ = 0;
  unsent_bytes_max_ = event->size() + behind_bytes_max;
  send(event);
}

void InspectSession::end() { finish(linger_time); }

void InspectSession::on_drained() {
  if (missed_ > 0) taker_.on_taken(*this);
}

void InspectSession::on_deadline() {
  if (is_finishing()) return drop("timed out");
  respond(408, "text/plain", "the request timed out\n");
}

}  // namespace sidekick::host
