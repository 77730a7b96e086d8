// Sends forwards to the app server, each at most once: a repeated forward might take effect twice.
// Each forward ends in exactly one result, unless it is cancelled. Owns the connections to the app
// server; does not know what it forwards.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include <boost/asio/ip/tcp.hpp>

#include "http/server_url.hpp"
#include "log.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"
#include "sidekick/border.hpp"

namespace sidekick::host {

/// What became of a forward.
struct ForwardResult {
  Outcome outcome;
  u32 status = 0;  ///< 0 unless answered
  Bytes body{};    ///< the start of the answer's body; empty unless answered with another than 2xx
};

class Forwarder {
  struct Forward;

 public:
  /// Maximum number of connections; further forwards wait.
  static constexpr std::size_t links_max = 4096;

  using Done = std::function<void(const ForwardResult& result)>;
  using Handle = std::weak_ptr<Forward>;

  /// Throws ConfigError if the URL or the secret is invalid.
  Forwarder(Loop& loop, const std::string& url, const std::string& secret, u32 answer_bytes_max,
            Log& log);
  ~Forwarder();

  /// timeout_ms covers the whole exchange, up to the end of the answer. `done` may be called before
  /// this returns, if a connection turns out to be closed.
  Handle send(std::string body, u32 timeout_ms, Done done);

  /// Nobody waits for this forward any more: closes its connection, without a result.
  void cancel(const Handle& handle);

  /// Whether a name is being resolved. The system's resolver call cannot be cancelled.
  bool is_resolving() const { return lookups_ > 0; }

  /// Number of forwards without a result.
  std::size_t open() const { return open_.size(); }

  /// Ends all forwards in flight, and any sent later.
  void end();
  /// Cancels all forwards in flight.
  void destroy();

 private:
  class Link;
  using ForwardPtr = std::shared_ptr<Forward>;
  using LinkPtr = std::shared_ptr<Link>;

  void start(const ForwardPtr& forward);
  /// Replaces the previous deadline.
  template <class End>
  void end_in(const ForwardPtr& forward, std::chrono::milliseconds time, End end);
  void fail(const ForwardPtr& forward, Outcome outcome, const std::string& why);
  void end_one(const ForwardPtr& forward, const ForwardResult& result);
  void log_refusal(u32 status);
  void on_idle(const LinkPtr& link);
  void on_gone(const LinkPtr& link);
  void drop_idle_later();

  Loop& loop_;
  ServerUrl url_;
  TlsContext tls_;
  std::string head_;  ///< of every request, up to the length of its body
  u32 answer_bytes_max_;
  Log& log_;
  unsigned lookups_ = 0;
  std::unordered_set<ForwardPtr> open_;
  std::unordered_set<LinkPtr> links_;
  std::deque<LinkPtr> idle_;  ///< longest idle first
  std::deque<ForwardPtr> waiting_;
  Loop::Timer idle_timer_;
  bool is_idle_timer_set_ = false;
  bool is_ended_ = false;
};

}  // namespace sidekick::host
