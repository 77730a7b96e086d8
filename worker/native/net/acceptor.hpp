// Listening sockets: resolves and binds an address, or throws an error that says what to do.
#pragma once

#include <optional>
#include <set>
#include <string>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace sidekick::host {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<tcp, asio::io_context::executor_type>;

/// Where to listen, and the flags that say so.
struct Place {
  const char* host_flag;
  const char* port_flag;
  std::optional<std::string> host;  ///< default: all addresses
  unsigned short port;              ///< 0: any free one
};

/// All addresses of place.host. Throws UsageError if there is none.
std::set<tcp::endpoint> resolve(asio::io_context& context, const Place& place);

/// Binds and listens. Returns false, and closes the acceptor, if that fails.
bool bind(Acceptor& acceptor, const tcp::endpoint& endpoint, int waiting_max, bool reuse_port,
          ErrorCode& error);

/// Whether this machine lacks the address, or its address family.
bool is_missing(const ErrorCode& error);

/// Throws UsageError or StartError: why nothing can listen there.
[[noreturn]] void refuse(const Place& place, const ErrorCode& error);

}  // namespace sidekick::host
