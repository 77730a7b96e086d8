#include "net/acceptor.hpp"

#include <sys/socket.h>
#include <cerrno>

#include <boost/asio/ip/v6_only.hpp>

#include "errors.hpp"
#include "log.hpp"

namespace sidekick::host {

namespace {

constexpr unsigned short unprivileged_port = 1024;

[[noreturn]] void refuse_host(const Place& place) {
  throw UsageError(std::string(place.host_flag) + ": this machine has no address " +
                   quote_text(*place.host));
}

}  // namespace

std::set<tcp::endpoint> resolve(asio::io_context& context, const Place& place) {
  ErrorCode error;
  const auto found = tcp::resolver(context).resolve(*place.host, std::to_string(place.port),
                                                    tcp::resolver::passive, error);
  if (error || found.empty()) refuse_host(place);
  std::set<tcp::endpoint> endpoints;  // some resolvers repeat an address
  for (const auto& entry : found) endpoints.insert(entry.endpoint());
  return endpoints;
}

bool bind(Acceptor& acceptor, const tcp::endpoint& endpoint, int waiting_max, bool reuse_port,
          ErrorCode& error) {
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Acceptor::reuse_address(true), error);
  if (!error && reuse_port)
    acceptor.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>(true),
                        error);
  // One socket for all addresses, or, if a name has several, one for each.
  if (!error && endpoint.protocol() == tcp::v6())
    acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), error);
  if (!error) acceptor.bind(endpoint, error);
  // Checked here: two processes that bound with reuse_address notice only now.
  if (!error) acceptor.listen(waiting_max, error);
  if (!error) acceptor.non_blocking(true, error);
  if (!error) return true;
  ErrorCode ignored;
  acceptor.close(ignored);
  return false;
}

bool is_missing(const ErrorCode& error) {
  return error.value() == EADDRNOTAVAIL || error.value() == EAFNOSUPPORT;
}

void refuse(const Place& place, const ErrorCode& error) {
  const std::string where =
      (place.host ? *place.host + " port " : "port ") + std::to_string(place.port);
  const std::string flag = place.port_flag;
  if (error == asio::error::address_in_use)
    throw StartError(
        where + " is in use: stop the process that listens there, or choose another port with " +
        flag);
  if (error == asio::error::access_denied && place.port < unprivileged_port)
    throw StartError("permission denied for " + where + ": choose a port above 1023 with " + flag);
  if (is_missing(error) && place.host) refuse_host(place);
  throw StartError(where + ": " + errno_text(error.value()));
}

}  // namespace sidekick::host
