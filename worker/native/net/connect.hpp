// Connects to a name, whichever of its addresses answers. Owns the attempts until one succeeds.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "net/loop.hpp"
#include "net/stream.hpp"

namespace sidekick::host {

/// No attempt is aborted while another may still succeed: a lost SYN is repeated only after a
/// second. The caller limits the time.
class Connecting : public std::enable_shared_from_this<Connecting> {
 public:
  using OnConnect = std::function<void(Socket socket)>;
  using OnFail = std::function<void(const std::string& why)>;

  /// lookups: the number of names being resolved, in which this one is counted.
  Connecting(Loop& loop, unsigned& lookups);

  /// Later calls one of the two, unless cancelled.
  void start(const std::string& host, const std::string& port, OnConnect on_connect,
             OnFail on_fail);
  void cancel();

 private:
  struct Attempt {
    explicit Attempt(Loop& loop) : socket(loop.context().get_executor()) {}
    Socket socket;
  };

  void try_next();
  void on_tried(const std::shared_ptr<Attempt>& attempt, const asio::ip::tcp::endpoint& endpoint,
                const ErrorCode& error);
  void fail(const std::string& why);

  Loop& loop_;
  unsigned& lookups_;
  asio::ip::basic_resolver<asio::ip::tcp, asio::io_context::executor_type> resolver_;
  Loop::Timer timer_;
  std::deque<asio::ip::tcp::endpoint> endpoints_;
  std::vector<std::shared_ptr<Attempt>> attempts_;
  OnConnect on_connect_;
  OnFail on_fail_;
};

}  // namespace sidekick::host
