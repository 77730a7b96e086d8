#include "http/not_http.hpp"

#include <algorithm>

namespace sidekick::host {

using namespace std::string_view_literals;

namespace {

/// Without the empty lines that a parser skips. The same as in worker/src/node/not-http.ts.
constexpr struct {
  std::string_view begins_with;
  std::string_view name;
  std::string_view advice;
} protocols[] = {
    {"\x16\x03"sv, "TLS", "use http:// and ws:// here, or serve TLS (--tls-cert) or a TLS proxy"},
    {"PROXY "sv, "the PROXY protocol", "turn it off in the load balancer; it is not supported"},
    {"\0\r\nQUIT\n"sv, "the PROXY protocol",
     "turn it off in the load balancer; it is not supported"},
    {"PRI * HTTP/2"sv, "HTTP/2", "let the proxy speak HTTP/1.1 to this port"},
};

}  // namespace

void report_not_http(Log& log, std::string_view bytes, const std::string& remote) {
  bytes.remove_prefix(std::min(bytes.find_first_not_of("\r\n"), bytes.size()));
  for (const auto& protocol : protocols) {
    if (bytes.starts_with(protocol.begins_with))
      return log.warn("rejected a request that is " + std::string(protocol.name) + ", not HTTP/1.1",
                      {{"advice", protocol.advice}, {"remote", remote}});
  }
  if (log.has(LogLevel::debug))
    log.debug("rejected a request that is not HTTP/1.1", {{"remote", remote}});
}

void report_not_tls(Log& log, std::string_view why) {
  if (why == "TLS: http request" || why == "TLS: https proxy request")
    return log.warn("rejected a connection that is HTTP, not TLS",
                    {{"advice", "use https:// and wss:// here"}});
  log.debug("a TLS connection failed", {{"error", why}});
}

}  // namespace sidekick::host
