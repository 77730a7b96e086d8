// One connection to the inspector: reads a request, and writes one answer, or events until either
// side ends. Its output does not count towards unsent_bytes_max, so that no client is dropped for
// it.
#pragma once

#include <string>
#include <string_view>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "net/wire.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

class InspectSession;

/// The interface of the inspector for its connections.
class InspectTaker {
 public:
  using Request = boost::beast::http::request<boost::beast::http::empty_body>;

  /// Answers with respond() or begin_events(), now.
  virtual void on_request(InspectSession& session, const Request& request) = 0;
  /// A reader of events has taken all of them.
  virtual void on_taken(InspectSession& session) = 0;
  /// The connection is closed.
  virtual void on_gone(InspectSession& session) = 0;

 protected:
  ~InspectTaker() = default;
};

class InspectSession final : public Wire {
 public:
  InspectSession(Loop& loop, Stream stream, InspectTaker& taker)
      : Wire(loop, std::move(stream)), taker_(taker) {}

  void start();

  void respond(unsigned status, std::string_view content_type, std::string_view body);

  void begin_events();
  /// lines: the number of them in the event. If the reader is too far behind, it misses them.
  void tell(const Buffer::Ptr& event, u64 lines);
  /// Sends the event that replaces all missed lines. It may be of any size.
  void catch_up(const Buffer::Ptr& event);
  /// Number of lines that this reader has missed since it caught up.
  u64 missed() const { return missed_; }
  /// After what the peer takes at once.
  void end();

  void on_deadline() override;

 private:
  void on_bytes(std::span<char> bytes) override;
  void on_lost(const std::string&) override { taker_.on_gone(*this); }
  bool wants_bytes() const override { return true; }
  void on_drained() override;

  InspectTaker& taker_;
  boost::beast::http::request_parser<boost::beast::http::empty_body> parser_;
  std::string pending_;  ///< of the head
  bool is_reader_ = false;
  u64 missed_ = 0;
  std::size_t unsent_bytes_max_ = 0;  ///< beyond it, it misses lines
};

}  // namespace sidekick::host
