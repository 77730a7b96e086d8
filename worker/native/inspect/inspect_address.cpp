#include "inspect/inspect_address.hpp"

#include "errors.hpp"
#include "log.hpp"

namespace sidekick::host {

InspectAddress parse_inspect_address(const std::string& text) {
  const bool is_port = text.find(':') == text.npos;
  const auto [host, digits] = split_host(is_port ? "127.0.0.1:" + text : text);
  const auto port = parse_port(digits);
  if (host.empty() || !port)
    throw UsageError("--inspect: expected [HOST:]PORT, got " + quote_text(text));
  return {host, *port};
}

std::pair<std::string, std::string> split_host(std::string_view text) {
  const bool is_bracketed = text.starts_with('[');
  const std::size_t end = text.find(is_bracketed ? ']' : ':');
  if (is_bracketed && end == text.npos) return {};
  const std::string_view host = text.substr(is_bracketed, end - is_bracketed);
  const std::string_view rest = end == text.npos ? "" : text.substr(end + is_bracketed);
  if (rest.empty()) return {std::string(host), ""};
  if (!rest.starts_with(':') || rest.size() == 1) return {};
  return {std::string(host), std::string(rest.substr(1))};
}

std::optional<unsigned short> parse_port(const std::string& digits) {
  constexpr std::size_t digits_max = 5;
  if (digits.empty() || digits.size() > digits_max ||
      digits.find_first_not_of("0123456789") != digits.npos || std::stoul(digits) > 65535)
    return std::nullopt;
  return static_cast<unsigned short>(std::stoul(digits));
}

}  // namespace sidekick::host
