#include "engine/engine_url.hpp"

#include <algorithm>
#include <charconv>

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>

#include "errors.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::host {

namespace {

constexpr unsigned database_max = 999'999'999;

bool read_number(std::string_view text, unsigned highest, unsigned& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && number <= highest;
}

bool is_visible_ascii(char character) { return character >= '!' && character <= '~'; }

bool is_letter_or_digit(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9');
}

/// Escapes what a URL should have escaped in user and password: the last `@` ends the password.
std::string with_escapes(std::string_view text) {
  const std::size_t slashes = text.find("://");
  if (slashes == std::string_view::npos) return std::string(text);
  const std::size_t start = slashes + 3;
  const std::string_view authority = text.substr(start, text.find_first_of("/?#", start) - start);
  const std::size_t size = authority.rfind('@');
  if (size == std::string_view::npos) return std::string(text);
  std::string out(text.substr(0, start));
  for (const char character : authority.substr(0, size)) {
    if (is_letter_or_digit(character) || character == ':' || character == '%') {
      out += character;
    } else {
      constexpr char digits[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(character);
      out.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return out.append(text.substr(start + size));
}

/// A name, or an address of IPv4 or IPv6.
bool is_host(const boost::urls::url_view& url) {
  if (url.host_type() == boost::urls::host_type::ipv6) return true;
  const std::string_view host = url.encoded_host();
  return !host.empty() && std::ranges::all_of(host, [](char character) {
    return is_letter_or_digit(character) ||
           std::string_view("._-").find(character) != std::string_view::npos;
  });
}

/// Returns whether it is the URL of an engine.
bool read_url(const std::string& text, EngineUrl& url) {
  if (!std::ranges::all_of(text, is_visible_ascii)) return false;
  const std::string escaped = with_escapes(text);
  const auto view = boost::urls::parse_uri(escaped);
  if (!view || !is_host(*view) || view->has_query() || view->has_fragment()) return false;
  boost::urls::url parsed(*view);
  parsed.normalize_scheme();
  url.is_tls = parsed.scheme() == "rediss";
  if (!url.is_tls && parsed.scheme() != "redis") return false;
  url.host = parsed.host_address();
  url.user = parsed.user();
  url.password = parsed.password();
  if (!ion::is_utf8(url.user) || !ion::is_utf8(url.password)) return false;
  unsigned port = 6379;
  if (!parsed.port().empty() && !read_number(parsed.port(), 65535, port)) return false;
  url.port = std::to_string(port);
  std::string path(view->encoded_path());
  if (path.starts_with('/')) path.erase(0, 1);
  if (!path.empty() && !read_number(path, database_max, url.database)) return false;
  url.shown = std::string(url.is_tls ? "rediss://" : "redis://") +
              std::string(parsed.encoded_host()) + ":" + url.port + "/" +
              std::to_string(url.database);
  return port != 0;
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
