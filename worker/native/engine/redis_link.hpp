// One connection to a Redis server: commands go out, replies come in, in order. hiredis is only the
// codec; the connection is a Stream of this host. Knows no command.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <hiredis/hiredis.h>

#include "net/connect.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"

namespace sidekick::host {

class RedisLink : public std::enable_shared_from_this<RedisLink> {
 public:
  /// The reply is valid during the call.
  using OnReply = std::function<void(const redisReply& reply)>;
  using OnLost = std::function<void(const std::string& why)>;

  /// lookups: the number of names being resolved, in which this one is counted.
  RedisLink(Loop& loop, unsigned& lookups) : loop_(loop), lookups_(lookups) {}

  /// tls: null for none. Calls on_lost at most once, and nothing after it or after close().
  void start(const std::string& host, const std::string& port, SSL_CTX* tls, OnReply on_reply,
             OnLost on_lost);

  /// Queues a command. All commands of one turn are sent together, once there is a connection.
  void send(std::span<const std::string_view> words);

  void close();

 private:
  struct FreeReader {
    void operator()(redisReader* reader) const { redisReaderFree(reader); }
  };
  struct FreeReply {
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
  };

  void on_connected(Socket socket, SSL_CTX* tls, const std::string& host);
  void flush();
  void wait_read();
  void on_readable();
  void take_replies();
  void lost_by_format();
  void lost(const std::string& why);

  Loop& loop_;
  unsigned& lookups_;
  OnReply on_reply_;
  OnLost on_lost_;
  std::shared_ptr<Connecting> connecting_;
  std::optional<Stream> stream_;
  std::unique_ptr<redisReader, FreeReader> reader_{redisReaderCreate()};
  std::string unsent_;
  bool is_flushing_ = false;  ///< flush() is scheduled, or waits for the peer
  bool is_closed_ = false;
};

}  // namespace sidekick::host
