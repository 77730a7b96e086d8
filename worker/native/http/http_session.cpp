#include "http/http_session.hpp"

#include <algorithm>
#include <ctime>

#include <boost/beast/http/rfc7230.hpp>

#include "http/not_http.hpp"
#include "net/websocket.hpp"

namespace sidekick::host {

namespace http = boost::beast::http;

namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds head_time{10'000};
constexpr Milliseconds request_time{60'000};
/// After the last answer, further bytes are discarded for this long: closing at once would lose the
/// answer.
constexpr Milliseconds linger_time{2'000};
constexpr u32 head_bytes_max = 16 * 1024;
/// Unparsed bytes may be as many as one read. More than that, next to a head, means a header or
/// chunk without an end.
constexpr std::size_t pending_bytes_max = head_bytes_max + sizeof(Loop::ReadBuffer);
/// Approximate size of an answer's head.
constexpr std::size_t answer_head_bytes = 256;
/// More than any real pipelining client has in flight. One packet can hold thousands of requests,
/// which would all be answered before anyone else's.
constexpr u32 pipelined_max = 64;
/// A connection with more unsent bytes than this is not read: otherwise its peer could make us
/// write what it never reads.
constexpr std::size_t unsent_bytes_read_max = 64 * 1024;
constexpr std::string_view text_plain = "text/plain; charset=utf-8";

std::string_view as_view(boost::beast::string_view text) { return {text.data(), text.size()}; }

/// Header fields of a request. Of a repeated field the first one counts.
struct HeadFields {
  unsigned hosts = 0;
  unsigned lengths = 0;
  bool has_transfer_encoding = false;
  std::string_view expect;
  std::string_view authorization;
};

/// In one pass: separate lookups cost more.
template <class Request>
HeadFields head_fields_of(const Request& request) {
  HeadFields fields;
  const auto keep_first = [](std::string_view& value, const auto& field) {
    if (value.data() == nullptr) value = as_view(field.value());
  };
  for (const auto& field : request) {
    const http::field name = field.name();
    fields.hosts += name == http::field::host;
    fields.lengths += name == http::field::content_length
                          ? 1 + std::count(field.value().begin(), field.value().end(), ',')
                          : 0;
    fields.has_transfer_encoding |= name == http::field::transfer_encoding;
    if (name == http::field::expect) keep_first(fields.expect, field);
    if (name == http::field::authorization) keep_first(fields.authorization, field);
  }
  return fields;
}

/// For the Date header: formatted once a second.
std::string_view http_date() {
  static std::time_t made_for = 0;
  static char text[64];
  const std::time_t now = std::time(nullptr);
  if (now != made_for) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    made_for = now;
  }
  return text;
}

/// Number of bytes of empty lines before a request: some clients send a line end after a body (RFC
/// 9112, section 2.2).
std::size_t empty_lines(std::span<const char> bytes) {
  std::size_t size = 0;
  while (size + 1 < bytes.size() && bytes[size] == '\r' && bytes[size + 1] == '\n') size += 2;
  return size;
}

/// The headers by which the hub judges an upgrade; empty if the request asks for none. HTTP/1.0 has
/// none (RFC 9110, section 7.8).
template <class Request>
std::string upgrade_headers_of(const Request& request) {
  std::string lines;
  if (request.version() < 11 || request.find(http::field::upgrade) == request.end()) return lines;
  for (const auto& field : request) {
    for (const Bytes name : request_headers) {
      if (!boost::beast::iequals(field.name_string(), name)) continue;
      lines.append(name).append(": ").append(as_view(field.value())).append("\n");
    }
  }
  return lines;
}

}  // namespace

void HttpSession::start() {
  loop().set_deadline(shared_from_this(), head_time);
  arm_read();
}

bool HttpSession::wants_bytes() const {
  return !is_waiting() && unsent_bytes() <= unsent_bytes_read_max;
}

void HttpSession::on_bytes(std::span<char> bytes) {
  if (pending_.empty()) {
    const std::size_t taken = take(bytes);
    if (!is_closed() && !is_finishing())
      pending_.assign(bytes.data() + taken, bytes.size() - taken);
    keep_unfinished(pending_.size());
  } else {
    pending_.append(bytes.data(), bytes.size());
    on_turn();
  }
}

/// Handles what was kept: the rest of a request, or requests behind one that had to wait.
void HttpSession::on_turn() {
  if (handshake_ != nullptr && !is_closed() && !owes())
    return taker_.on_socket(release(), handshake_, pending_);
  if (!is_closed() && !is_finishing()) {
    const std::size_t taken = take(pending_);
    pending_.erase(0, taken);
    if (pending_.size() > pending_bytes_max && !is_closed() && !is_finishing())
      refuse(400, "the chunked body has a chunk header without end");
  }
  keep_unfinished(pending_.size());
  arm_read();
}

/// Handles all complete requests; returns the number of bytes they took.
std::size_t HttpSession::take(std::span<char> bytes) {
  std::size_t taken = 0;
  is_taking_ = true;
  while (taken < bytes.size() && !is_closed() && !is_finishing() && !is_waiting()) {
    if (state_ == State::idle) {
      taken += empty_lines(bytes.subspan(taken));
      const auto rest = bytes.subspan(taken);
      if (rest.empty() || (rest.size() == 1 && rest[0] == '\r')) break;
    }
    const std::size_t size = parse(bytes.subspan(taken));
    taken += size;
    if (handshake_ != nullptr && !owes()) {
      taker_.on_socket(release(), handshake_, {bytes.data() + taken, bytes.size() - taken});
      return bytes.size();
    }
    if (state_ == State::idle) parser_.reset();  // not earlier: the answers pointed into it
    if (size == 0 && (state_ == State::head || state_ == State::body)) break;
  }
  is_taking_ = false;
  await_rest();
  return taken;
}

/// An incomplete request has a deadline. Most requests arrive complete and need none.
void HttpSession::await_rest() {
  if (is_closed() || is_finishing() || awaited_ == state_ ||
      (state_ != State::head && state_ != State::body))
    return;
  awaited_ = state_;
  loop().set_deadline(shared_from_this(), state_ == State::head ? head_time : request_time);
}

/// One step: a head, or the available part of a body. Returns the number of bytes consumed; 0 means
/// that more are needed.
std::size_t HttpSession::parse(std::span<char> bytes) {
  if (state_ == State::idle) {
    state_ = State::head;
    parser_.emplace();
    parser_->header_limit(head_bytes_max);
    parser_->body_limit(boost::none);
  }
  ErrorCode error;
  std::size_t size = 0;
  if (!parser_->is_done()) size = parser_->put(asio::buffer(bytes.data(), bytes.size()), error);
  if (error == http::error::need_more) error = {};
  if (error == http::error::header_limit)
    return refuse(431, "the request's head exceeds 16 KiB"), bytes.size();
  if (error) {
    report_not_http(rules_.log, {bytes.data(), bytes.size()}, stream().remote_address());
    return refuse(400, error.message()), bytes.size();
  }
  if (state_ == State::head && parser_->is_header_done()) {
    if (!takes_one_more()) return bytes.size();
    const std::string_view head(bytes.data(), size);
    if (head.find("\r\n ") != head.npos || head.find("\r\n\t") != head.npos)
      return refuse(400, "obsolete line folding (RFC 9112 section 5.2)"), bytes.size();
    on_head();
  }
  if (state_ == State::body) on_body();
  return size;
}

bool HttpSession::takes_one_more() {
  if (turn_ != loop().turn()) requests_in_turn_ = 0;
  turn_ = loop().turn();
  if (++requests_in_turn_ <= pipelined_max) return true;
  finish(linger_time);
  return false;
}

void HttpSession::on_head() {
  const auto& request = parser_->get();
  const HeadFields fields = head_fields_of(request);
  if (request.version() >= 11 && fields.hosts != 1)
    return refuse(400, "expected exactly one Host header");
  if (fields.lengths > 1) return refuse(400, "expected at most one Content-Length header");
  const bool is_chunked = parser_->chunked();
  if (fields.has_transfer_encoding && !is_chunked)
    return refuse(400, "expected no Transfer-Encoding but chunked");
  const u64 declared = parser_->content_length().value_or(0);
  const bool has_body = is_chunked || declared > 0;

  const bool awaits_continue = boost::beast::iequals(fields.expect, "100-continue");
  if (!fields.expect.empty() && !awaits_continue)
    return refuse(417, "expected no Expect header but 100-continue");

  authorization_ = fields.authorization;
  upgrade_headers_ = upgrade_headers_of(request);
  const auto admitted = taker_.admit(request_of(declared, {}));
  if (const auto* why = std::get_if<NoAnswer>(&admitted)) {
    state_ = State::answering;
    is_last_ = true;
    return fail(*why);
  }
  const Verdict& verdict = std::get<Verdict>(admitted);
  if (verdict.kind == VerdictKind::socket) return accept_socket(verdict.protocol);
  body_bytes_max_ = verdict.body_bytes_max;
  is_known_ |= verdict.kind == VerdictKind::body || verdict.kind == VerdictKind::metrics;
  if (verdict.kind == VerdictKind::metrics) {
    is_last_ |= has_body || !request.keep_alive();
    state_ = State::answering;
    return taker_.on_metrics(*this, request_of(declared, {}));
  }
  if (verdict.kind != VerdictKind::body || declared > body_bytes_max_) {
    is_last_ |= has_body;  // nobody will read it
    return submit(declared, {});
  }
  if (awaits_continue) send(Buffer::copy("HTTP/1.1 100 Continue\r\n\r\n"));
  state_ = State::body;
  parser_->eager(true);
}

void HttpSession::on_body() {
  const std::string& body = parser_->get().body();
  const bool is_too_large = body.size() > body_bytes_max_;
  if (!is_too_large && !parser_->is_done()) return;
  is_last_ |= !parser_->is_done();
  submit(body.size(), is_too_large ? Bytes() : Bytes(body));
}

input::HttpRequest HttpSession::request_of(u64 body_bytes, Bytes body) const {
  const auto& request = parser_->get();
  return {0,
          static_cast<u32>(std::min<u64>(body_bytes, 0xffffffff)),
          as_view(request.method_string()),
          as_view(request.target()),
          authorization_,
          body,
          upgrade_headers_};
}

void HttpSession::submit(u64 body_bytes, Bytes body) {
  state_ = State::answering;
  is_last_ |= !parser_->get().keep_alive();
  taker_.on_request(*this, request_of(body_bytes, body));
  // stop() finds sessions by their deadlines.
  if (is_waiting() && state_ == State::answering)
    loop().set_deadline(shared_from_this(), request_time);
}

void HttpSession::respond(const action::Respond& it) {
  if (!is_waiting() || state_ != State::answering) return;
  if (it.code != sidekick::ErrorCode::ok) {
    const std::string_view path = parser_ ? as_view(parser_->get().target()) : "";
    taker_.on_rejected(it, path.substr(0, path.find_first_of("?#")), stream().remote_address());
  }
  if (it.delay_ms == 0 || taker_.is_stopping())
    return answer(it.status, it.content_type, it.header, it.body, is_last_);
  // Someone who guesses secrets gets one guess per connection and delay: the connection is not read
  // until then, and closes after the answer.
  state_ = State::delayed;
  loop().set_deadline(
      shared_from_this(),
      request_time + Milliseconds(it.delay_ms));  // stop() finds sessions by their deadlines
  delayed_status_ = it.status;
  delayed_type_ = it.content_type;
  delayed_header_ = it.header;
  delayed_body_ = it.body;
  delay_.emplace(loop().context().get_executor(), Milliseconds(it.delay_ms));
  delay_->async_wait([self = shared_from_this(), this](const ErrorCode&) {
    if (!is_closed()) answer(delayed_status_, delayed_type_, delayed_header_, delayed_body_, true);
  });
}

void HttpSession::fail(NoAnswer why) {
  const auto [status, text] =
      why == NoAnswer::trapped
          ? std::pair(500u, "Internal error")
          : std::pair(503u, "Service Unavailable: this Sidekick cannot start; see its log");
  respond({0, status, 0, text_plain, {}, text, sidekick::ErrorCode::internal});
}

void HttpSession::withhold() {
  if (is_closed()) return;
  drop_turn();
  // Its client would take the next answer for that to an earlier request.
  if (answers_in_turn_ != 1) return drop("its answers are no longer valid");
  answers_in_turn_ = 0;
  state_ = State::answering;
  is_last_ = true;
}

bool HttpSession::is_waiting() const {
  if (is_closed() || is_finishing()) return false;
  return state_ == State::delayed || state_ == State::answering;
}

void HttpSession::on_drained() {
  if (handshake_ != nullptr) loop().call_next_turn(shared_from_this());
  arm_read();
}

void HttpSession::flush_turn() {
  answers_in_turn_ = 0;
  Wire::flush_turn();
}

void HttpSession::stop() {
  if (state_ == State::delayed) delay_->cancel();
  if (state_ == State::idle) finish(linger_time);
}

void HttpSession::refuse(unsigned status, std::string_view why) {
  answer(status, text_plain, {}, why, true);
}

void HttpSession::answer(unsigned status, std::string_view content_type, std::string_view header,
                         std::string_view body, bool is_last) {
  is_last |= taker_.is_stopping();
  std::string text;
  text.reserve(answer_head_bytes + header.size() + body.size());
  text.append("HTTP/1.1 ")
      .append(std::to_string(status))
      .append(" ")
      .append(as_view(http::obsolete_reason(static_cast<http::status>(status))));
  text.append("\r\nContent-Type: ")
      .append(content_type)
      .append("\r\nContent-Length: ")
      .append(std::to_string(body.size()));
  if (!header.empty()) text.append("\r\n").append(header);
  text.append("\r\nDate: ").append(http_date());
  text.append(is_last ? "\r\nConnection: close\r\n\r\n"
                      : "\r\nConnection: keep-alive\r\nKeep-Alive: timeout=" +
                            std::to_string(rules_.idle_time.count()) + "\r\n\r\n");
  if (!parser_ || parser_->get().method() != http::verb::head) text.append(body);
  send(Buffer::copy(text));
  ++answers_in_turn_;
  if (is_last) {
    state_ = State::answering;
    return finish(linger_time);
  }
  state_ = awaited_ = State::idle;
  loop().set_deadline(shared_from_this(), rules_.idle_time);
  if (is_taking_) return;
  parser_.reset();
  loop().call_next_turn(shared_from_this());  // other requests may have waited behind this one
}

void HttpSession::accept_socket(std::string_view protocol) {
  std::string text =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
      "Upgrade\r\nSec-WebSocket-Accept: " +
      websocket_accept(as_view(parser_->get()[http::field::sec_websocket_key]));
  if (!protocol.empty()) text.append("\r\nSec-WebSocket-Protocol: ").append(protocol);
  text.append("\r\n\r\n");
  handshake_ = Buffer::copy(text);
  state_ = State::answering;
}

Wire::Claim HttpSession::claim() const {
  if (is_finishing()) return Claim::ending;
  if (state_ == State::delayed) return Claim::none;
  if (state_ == State::body || state_ == State::answering) return Claim::busy;
  return is_known_ ? Claim::known : Claim::none;
}

void HttpSession::on_deadline() {
  if (is_finishing() || state_ == State::idle || is_waiting()) return lost("timed out");
  refuse(408, "the request timed out");
}

void HttpSession::on_lost(const std::string& why) {
  delay_.reset();
  if (why.starts_with("TLS: ")) report_not_tls(rules_.log, why);
}

/// A client may close its sending side and still wait for its answer.
void HttpSession::on_peer_ended() {
  if (owes()) return finish(linger_time);
  lost("the peer closed the connection");
}

}  // namespace sidekick::host
