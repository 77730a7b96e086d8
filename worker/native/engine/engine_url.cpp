#include "engine/engine_url.hpp"

#include <charconv>

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>

#include "errors.hpp"

namespace sidekick::host {

namespace {

constexpr unsigned database_max = 999'999'999;

bool read_number(std::string_view text, unsigned highest, unsigned& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && number <= highest;
}

/// Returns whether it is the URL of an engine.
bool read_url(const std::string& text, EngineUrl& url) {
  const auto view = boost::urls::parse_uri(text);
  if (!view || view->host().empty() || view->has_query() || view->has_fragment()) return false;
  boost::urls::url parsed(*view);
  parsed.normalize_scheme();
  url.is_tls = parsed.scheme() == "rediss";
  if (!url.is_tls && parsed.scheme() != "redis") return false;
  url.host = parsed.host_address();
  url.user = parsed.user();
  url.password = parsed.password();
  unsigned port = 6379;
  if (!parsed.port().empty() && !read_number(parsed.port(), 65535, port)) return false;
  url.port = std::to_string(port);
  std::string path = parsed.path();
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
