// Sends forwards to the app server, each at most once: a repeated forward might take effect twice.
// Each forward ends in exactly one result, unless it is cancelled. Owns the connections to the app
// server; does not know what it forwards.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "http/answer_reader.hpp"
#include "http/server_url.hpp"
#include "log.hpp"
#include "net/loop.hpp"
#include "net/tls.hpp"
#include "sidekick/border.hpp"

namespace sidekick::host {

/// The outcome of a forward.
struct ForwardResult {
  Outcome outcome;
  u32 status = 0;  ///< 0 unless answered
  Bytes body{};    ///< the start of the answer's body; empty unless answered with another than 2xx
};

struct ForwarderOptions {
  std::string url;
  std::string secret;  ///< printable ASCII
  u32 answer_bytes_max;
  /// For how long an idle connection is kept at most.
  std::chrono::milliseconds idle_time;
  /// Maximum number of connections; further forwards wait.
  std::size_t links_max;
};

class Forwarder {
  struct Forward;

 public:
  using Done = std::function<void(const ForwardResult& result)>;
  using Handle = std::weak_ptr<Forward>;

  /// Throws ConfigError if the URL is invalid.
  Forwarder(Loop& loop, const ForwarderOptions& options, Log& log);
  ~Forwarder();

  /// timeout_ms: the hub's; near its end the status of an incomplete answer is the result.
  /// limit_ms covers the whole exchange, up to the end of the answer. `done` may be called before
  /// this returns, if a connection turns out to be closed.
  Handle send(std::string body, u32 timeout_ms, u32 limit_ms, Done done);

  /// The hub's time for this forward is over: closes its connection, without a result.
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
  using Milliseconds = std::chrono::milliseconds;

  /// To the origin of --server-url.
  bool is_home(const Forward& forward) const;
  void start(const ForwardPtr& forward);
  LinkPtr take_idle();
  ForwardPtr take_waiting();
  std::string head_of(const Forward& forward) const;

  void on_read(const LinkPtr& link);
  void on_gone(const LinkPtr& link, const std::string& why);
  void on_closed(const LinkPtr& link);

  void answered(const ForwardPtr& forward);
  bool follow(const ForwardPtr& forward);
  void release(const LinkPtr& link, const AnswerReader& reader);
  void learn(Loop::Time now, Milliseconds idle_time);
  void drop_idle_later();

  /// Replaces the previous deadline.
  template <class End>
  void end_at(const ForwardPtr& forward, Loop::Time time, End end);
  void end_in_time(const ForwardPtr& forward);
  /// outcome: without a status line; default: by whether a part of the request was sent.
  void give_up(const ForwardPtr& forward, const std::string& why,
               std::optional<Outcome> outcome = std::nullopt);
  void end_one(const ForwardPtr& forward, const ForwardResult& result);
  void log_refusal(const Forward& forward);

  Loop& loop_;
  ForwarderOptions options_;
  ServerUrl url_;
  TlsContext tls_;
  std::string authorization_;  ///< the header line
  Log& log_;
  unsigned lookups_ = 0;
  std::unordered_set<ForwardPtr> open_;
  std::unordered_set<LinkPtr> links_;
  std::deque<LinkPtr> idle_;  ///< longest idle first
  std::deque<ForwardPtr> waiting_;
  Loop::Timer idle_timer_;
  bool is_idle_timer_set_ = false;
  /// The app server has closed a connection that was idle for little more than this.
  Milliseconds idle_bound_{0};
  Loop::Time idle_bound_until_;
  bool is_ended_ = false;
};

}  // namespace sidekick::host
