// One connection on which HTTP is spoken, request after request. Reads as much of a body as the hub
// wants, writes its answers, and hands the connection over where a client asks for a WebSocket.
// What is answered, the hub says.
#pragma once

#include <optional>
#include <string>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "net/wire.hpp"
#include "sidekick/border.hpp"

namespace sidekick::host {

class HttpSession;

/// What a session needs of the host.
class RequestTaker {
 public:
  virtual u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) = 0;
  /// Answers by session.respond() or session.fail(), at once.
  virtual void on_request(HttpSession& session, const input::HttpRequest& request) = 0;
  /// The handshake is done. rest: what the client has sent behind it.
  virtual void on_socket(Stream stream, const Buffer::Ptr& handshake, std::string_view rest) = 0;
  virtual void on_refused(std::string_view path, const std::string& remote) = 0;
  virtual bool is_stopping() const = 0;

 protected:
  ~RequestTaker() = default;
};

class HttpSession final : public Wire {
 public:
  HttpSession(Loop& loop, Stream stream, RequestTaker& taker)
      : Wire(loop, std::move(stream)), taker_(taker) {}

  void start();

  void respond(const action::Respond& answer);
  /// The hub broke over this session's request, or what it changed could not be stored: this is
  /// said in place of what this turn has.
  void fail(unsigned status, std::string_view why);
  /// The server stops: an answer held back goes out now, an idle connection ends.
  void stop();

  Claim claim() const override;
  void on_deadline() override;

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class State : unsigned char { idle, head, body, answering, delayed };

  void on_bytes(std::span<char> bytes) override;
  void on_lost(const std::string& why) override;
  void on_peer_ended() override;
  bool wants_bytes() const override;
  void on_drained() override { arm_read(); }

  std::size_t take(std::span<char> bytes);
  std::size_t parse(std::span<char> bytes);
  bool takes_one_more();
  void on_head();
  void on_upgrade();
  void on_body();
  void await_rest();
  void submit(u64 body_bytes, Bytes body);
  void refuse(unsigned status, std::string_view why);
  void answer(unsigned status, std::string_view content_type, std::string_view header,
              std::string_view body, bool is_last);

  RequestTaker& taker_;
  std::optional<Parser> parser_;
  std::string_view authorization_;  ///< in the parser
  Buffer::Ptr handshake_;  ///< the answer to an upgrade: the stream is about to be handed over
  std::string pending_;
  std::optional<Loop::Timer> delay_;
  std::string delayed_body_;
  unsigned delayed_status_ = 0;
  std::string delayed_type_;
  std::string delayed_header_;
  u32 body_bytes_max_ = 0;
  u32 requests_in_turn_ = 0;
  unsigned long turn_ = 0;
  State state_ = State::idle;
  State awaited_ = State::idle;  ///< whose deadline is set
  bool is_last_ = false;
  bool is_known_ = false;  ///< it has presented the secret
};

}  // namespace sidekick::host
