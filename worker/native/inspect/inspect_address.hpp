// The address in `--inspect [HOST:]PORT`, and in a Host header.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sidekick::host {

struct InspectAddress {
  std::string host;
  unsigned short port;  ///< 0: any free one
};

/// [HOST:]PORT. Throws UsageError.
InspectAddress parse_inspect_address(const std::string& text);

/// HOST[:PORT] in two parts; an IPv6 address is in brackets. The host is empty if the text has
/// another form.
std::pair<std::string, std::string> split_host(std::string_view text);

std::optional<unsigned short> parse_port(const std::string& digits);

}  // namespace sidekick::host
