// One HTTP connection: reads as much of a body as the hub wants, writes its answers, and hands the
// connection over when a client asks for a WebSocket. The hub decides the answers.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "log.hpp"
#include "net/wire.hpp"
#include "runtime/runtime.hpp"

namespace sidekick::host {

class HttpSession;

/// The host's interface for sessions.
class RequestTaker {
 public:
  /// Says how to handle a request, before its body is read.
  virtual std::variant<Verdict, NoAnswer> admit(const input::HttpRequest& request) = 0;
  /// Answers with session.respond() or session.fail(), now or later.
  virtual void on_request(HttpSession& session, const input::HttpRequest& request) = 0;
  /// Answers a request with the verdict `metrics`, now.
  virtual void on_metrics(HttpSession& session, const input::HttpRequest& request) = 0;
  /// The handshake is complete. rest: bytes the client sent after it.
  virtual void on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) = 0;
  /// The answer is an error. For the log.
  virtual void on_rejected(const action::Respond& answer, std::string_view path,
                           const std::string& remote) = 0;
  virtual bool is_stopping() const = 0;

 protected:
  ~RequestTaker() = default;
};

/// The same for all sessions.
struct HttpRules {
  Log& log;
  std::chrono::seconds idle_time;  ///< of a connection between two requests
};

class HttpSession final : public Wire {
 public:
  HttpSession(Loop& loop, Stream stream, RequestTaker& taker, const HttpRules& rules)
      : Wire(loop, std::move(stream)), taker_(taker), rules_(rules) {}

  void start();

  void respond(const action::Respond& answer);
  /// The hub will not answer.
  void fail(NoAnswer why);
  /// The answer of this turn is not true: it is dropped, and another one follows.
  void withhold();
  /// The server stops: a delayed answer is sent now, an idle connection closes.
  void stop();

  Claim claim() const override;
  void flush_turn() override;
  void on_turn() override;
  void on_deadline() override;

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  /// answering: the hub has the request, or the last answer was given; delayed: the hub's answer
  /// has to wait.
  enum class State : unsigned char { idle, head, body, answering, delayed };

  void on_bytes(std::span<char> bytes) override;
  void on_lost(const std::string& why) override;
  void on_peer_ended() override;
  bool wants_bytes() const override;
  void on_drained() override;

  std::size_t take(std::span<char> bytes);
  std::size_t parse(std::span<char> bytes);
  bool takes_one_more();
  /// For the hub, or for the time of a delayed answer: nothing is read until then.
  bool is_waiting() const;
  void on_head();
  void accept_socket(std::string_view protocol);
  void on_body();
  void await_rest();
  input::HttpRequest request_of(u64 body_bytes, Bytes body) const;
  void submit(u64 body_bytes, Bytes body);
  void refuse(unsigned status, std::string_view why);
  void answer(unsigned status, std::string_view content_type, std::string_view header,
              std::string_view body, bool is_last);

  RequestTaker& taker_;
  const HttpRules& rules_;
  std::optional<Parser> parser_;
  std::string_view authorization_;  ///< in the parser
  std::string upgrade_headers_;     ///< see input::HttpRequest
  /// The answer to an upgrade: the stream is handed over once earlier answers are written.
  Buffer::Ptr handshake_;
  std::string pending_;
  std::optional<Loop::Timer> delay_;
  std::string delayed_body_;
  unsigned delayed_status_ = 0;
  std::string delayed_type_;
  std::string delayed_header_;
  u32 body_bytes_max_ = 0;
  u32 requests_in_turn_ = 0;
  u32 answers_in_turn_ = 0;
  unsigned long turn_ = 0;
  State state_ = State::idle;
  State awaited_ = State::idle;  ///< the one with the deadline
  bool is_taking_ = false;       ///< take() goes on after an answer
  bool is_last_ = false;
  bool is_known_ = false;  ///< it has presented the secret
};

}  // namespace sidekick::host
