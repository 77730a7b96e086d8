// The engine: a Redis primary that orders messages, keeps tokens and remembers changes for several
// nodes. A pipe: owns two connections, one for scripts and one for messages, and a heartbeat that
// tests both. Has no table of topics, no queue and no retry of a call; decides nothing.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "engine/engine_url.hpp"
#include "engine/redis_errors.hpp"
#include "engine/redis_link.hpp"
#include "log.hpp"
#include "net/loop.hpp"
#include "net/tls.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

/// The user of an engine.
class EngineTaker {
 public:
  /// A write succeeded, and its message came back.
  virtual void on_engine_up() = 0;
  /// No call that is under way will be answered: each may have been performed or not.
  virtual void on_engine_down() = 0;
  /// status 0: done, with the values of a script. 1: refused, with a text.
  virtual void on_engine_answer(u32 call, u32 status, std::span<const Bytes> values) = 0;
  /// topic: empty for this node's inbox.
  virtual void on_engine_message(Bytes topic, Bytes body) = 0;

 protected:
  ~EngineTaker() = default;
};

struct RedisOptions {
  EngineUrl url;
  std::optional<std::string> ca_file;  ///< PEM; default: the authorities that this machine trusts
  std::string prefix;                  ///< start of all keys and channels
  std::string node;                    ///< 16 hex digits
  std::chrono::milliseconds timeout;   ///< for each answer, and for connecting
  u32 lease_ms;
  u32 message_bytes_max;
};

class Redis {
 public:
  /// Throws UsageError if the CA file is unusable.
  Redis(Loop& loop, RedisOptions options, EngineTaker& taker, Log& log);

  /// Connects, and reconnects for ever.
  void start() { connect(); }

  // While the engine is up, each run and join gets one answer, or the engine goes down. Runs are
  // performed in their order, and so are joins and leaves. Calls while it is down do nothing.
  void run(u32 call, Bytes script, std::span<const Bytes> args);
  void join(u32 call, std::span<const Bytes> topics);
  void leave(std::span<const Bytes> topics);

  /// For a new hub, which knows nothing of the connections so far: replaces them, without
  /// on_engine_down().
  void renew();

  /// Ends for good, without on_engine_down().
  void end();

  /// No script of a hub is under way.
  bool is_idle() const { return !is_up_ || calls_.awaited.empty(); }
  /// Whether a name is being resolved. The system's resolver call cannot be cancelled.
  bool is_resolving() const { return lookups_ > 0; }

 private:
  using Milliseconds = std::chrono::milliseconds;

  /// A command whose reply has not come yet.
  struct Awaited {
    enum class What : unsigned char {
      setting,
      info,
      clients,
      script,
      beat,
      run,
      inbox,
      join,
      leave
    };
    What what;
    u32 call = 0;          ///< of a run or join: the hub's number
    std::size_t left = 1;  ///< replies that are still to come: one for each topic
    std::string_view script{};
    Loop::Time since = std::chrono::steady_clock::now();
  };
  using What = Awaited::What;

  struct Side {
    std::shared_ptr<RedisLink> link;
    std::string server;  ///< its process, as it names itself
    std::deque<Awaited> awaited;
  };

  void connect();
  void open(Side& side, void (Redis::*on_reply)(const redisReply& reply));
  void send(Side& side, std::span<const Bytes> words, Awaited awaited);
  void send(Side& side, std::initializer_list<Bytes> words, Awaited awaited) {
    send(side, std::span(words.begin(), words.size()), awaited);
  }
  void send_topics(Bytes command, std::span<const Bytes> topics, Awaited awaited);
  void run_script(Bytes script, std::span<const Bytes> args, Awaited awaited);

  void on_call_reply(const redisReply& reply);
  void on_message_reply(const redisReply& reply);
  void on_refused(Side& side, const redisReply& error);
  void on_confirmed();
  bool take_info(Side& side, Bytes info);
  void on_message(Bytes channel, Bytes body);
  void tell_others(Bytes clients);

  void beat();
  void tick_later();
  void on_tick(Milliseconds late);
  bool is_overdue() const;
  EngineReason overdue() const;

  template <class Then>
  void at(Loop::Time time, Then then);
  void drop();
  void lost(const EngineReason& why);
  void tell_down(bool was_up, const EngineReason& why);
  void retry();

  Loop& loop_;
  RedisOptions options_;
  EngineTaker& taker_;
  Log& log_;
  TlsContext tls_;
  std::string inbox_;
  std::string topics_;  ///< the channel of a topic is this prefix and the topic's name
  std::map<std::string, std::string, std::less<>> hashes_;  ///< of the scripts, by their names
  std::set<std::string> told_;  ///< prefixes of other Sidekicks that the log has named
  unsigned lookups_ = 0;

  Side calls_, messages_;
  Loop::Timer timer_;  ///< the limit for connecting, the next heartbeat, or the next attempt
  u64 timer_number_ = 0;
  u64 beat_ = 0;
  std::optional<Loop::Time> beat_since_;  ///< of the heartbeat that has not come back yet
  bool is_up_ = false;
  Loop::Time up_since_;
  std::string_view why_down_;  ///< code of the latest reason in the log; empty: none since it is up
  unsigned failures_ = 0;
};

}  // namespace sidekick::host
