// A redis-server of the test, whose clock only the test moves, with the scripts of the engine. Ends
// the program if anything but a script fails.
#pragma once

#include <hiredis/hiredis.h>
#include <sys/types.h>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sidekick/shard.hpp"

namespace sidekick::lua {

using engine::Shard;
using Texts = std::vector<std::string>;

[[noreturn]] void fail(const std::string& why);

class Redis {
 public:
  Redis();
  ~Redis();
  Redis(const Redis&) = delete;
  Redis& operator=(const Redis&) = delete;

  void set_clock(u64 now_us) { *clock_ = now_us; }
  const std::string& server() const { return server_; }

  Shard::Answer run(Bytes script, std::span<const Bytes> args);

  void attach(Bytes node);
  void detach(Bytes node);
  void join(Bytes node, const Texts& names) { subscribe(node, "SUBSCRIBE", names); }
  void leave(Bytes node, const Texts& names) { subscribe(node, "UNSUBSCRIBE", names); }

  /// The messages that each node has received since the last call, in order.
  std::map<std::string, Texts> messages();

  void set_full(bool is_full);
  void flush() { ask({"FLUSHALL"}); }
  /// Removes the keys that have expired. Redis would do so at a time of its choice.
  void remove_expired();

  /// Notes the data for a later restart.
  void save_copy();
  enum class Data { empty, all, copy };
  void restart(Data data);

 private:
  struct Free {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
  };
  using Connection = std::unique_ptr<redisContext, Free>;
  using Reply = std::unique_ptr<redisReply, Free>;

  void start();
  void kill_server();
  Connection connect() const;
  Reply ask(const Texts& words) { return ask(*calls_, words); }
  static Reply ask(redisContext& connection, const Texts& words);
  static void send(redisContext& connection, const Texts& words);
  static Reply read(redisContext& connection);
  void subscribe(Bytes node, const char* command, const Texts& names);

  std::string folder_;
  volatile u64* clock_ = nullptr;
  pid_t process_ = 0;
  std::string server_;
  Connection calls_;
  std::map<std::string, std::string, std::less<>> hashes_;
  std::map<std::string, Connection, std::less<>> nodes_;
  std::map<std::string, Texts> messages_;
};

}  // namespace sidekick::lua
