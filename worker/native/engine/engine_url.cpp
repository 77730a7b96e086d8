#include "engine/engine_url.hpp"

#include <algorithm>
#include <charconv>

#include <boost/asio/ip/address_v6.hpp>
#include <boost/url/pct_string_view.hpp>

#include "errors.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::host {

namespace {

constexpr std::size_t database_digits_max = 9;

bool read_number(std::string_view text, unsigned highest, unsigned& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && number <= highest;
}

bool is_visible_ascii(char character) { return character >= '!' && character <= '~'; }

/// Of the name of a host, or of an IPv4 address.
bool is_host_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') ||
         std::string_view("._-").find(character) != std::string_view::npos;
}

/// Decodes escapes such as %40. Returns whether all are valid, and the result is UTF-8.
bool decode(std::string_view text, std::string& out) {
  const auto escaped = boost::urls::make_pct_string_view(text);
  if (!escaped) return false;
  out = escaped->decode();
  return ion::is_utf8(out);
}

bool read_scheme(std::string scheme, bool& is_tls) {
  std::ranges::transform(scheme, scheme.begin(), [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character | 0x20) : character;
  });
  is_tls = scheme == "rediss";
  return is_tls || scheme == "redis";
}

/// A name, or an address of IPv4, or of IPv6 in brackets.
bool read_host(std::string_view text, std::string& host) {
  host = text;
  if (!text.starts_with('[') || !text.ends_with(']'))
    return !text.empty() && std::ranges::all_of(text, is_host_character);
  boost::system::error_code error;
  host = boost::asio::ip::make_address_v6(text.substr(1, text.size() - 2), error).to_string();
  return !error && text.find('%') == std::string_view::npos;  // a scope is for this machine only
}

/// Returns whether it is the URL of an engine. The parser of Boost is not used: it refuses special
/// characters in passwords, and names such as 10.0.0.1.nip.io.
bool read_url(std::string_view text, EngineUrl& url) {
  const std::size_t slashes = text.find("://");
  if (slashes == std::string_view::npos || !std::ranges::all_of(text, is_visible_ascii) ||
      !read_scheme(std::string(text.substr(0, slashes)), url.is_tls))
    return false;
  text.remove_prefix(slashes + 3);
  std::string_view host = text.substr(0, text.find_first_of("/?#"));
  text.remove_prefix(host.size());
  if (text.starts_with('/')) text.remove_prefix(1);
  if (!text.empty() && (text.size() > database_digits_max || !read_number(text, ~0u, url.database)))
    return false;
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = host.substr(0, std::min(host.find(':'), at));
    const std::size_t password = std::min(user.size() + 1, at);
    if (!decode(user, url.user) || !decode(host.substr(password, at - password), url.password))
      return false;
    host.remove_prefix(at + 1);
  }
  const std::size_t address_end = host.starts_with('[') ? host.find(']') : 0;
  const std::string_view name = host.substr(0, host.find(':', address_end));
  host.remove_prefix(name.size());
  unsigned port = 6379;
  if (host.size() > 1 && (!read_number(host.substr(1), 65535, port) || port == 0)) return false;
  url.port = std::to_string(port);
  if (!read_host(name, url.host)) return false;
  const bool has_brackets = name.starts_with('[');
  url.shown = (url.is_tls ? "rediss://" : "redis://") +
              (has_brackets ? "[" + url.host + "]" : url.host) + ":" + url.port + "/" +
              std::to_string(url.database);
  return true;
}

}  // namespace

EngineUrl parse_engine_url(const std::string& name, const std::string& text) {
  EngineUrl url;
  if (!read_url(text, url)) {
    throw UsageError(name +
                     ": expected a URL such as redis://localhost:6379/0 or "
                     "rediss://redis.example.com (escape special characters of a password as in "
                     "%40)");
  }
  if (!url.user.empty() && url.password.empty())
    throw UsageError(name + ": the URL has a user but no password");
  return url;
}

}  // namespace sidekick::host
