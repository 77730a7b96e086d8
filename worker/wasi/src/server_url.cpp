#include "server_url.hpp"

#include <boost/url/src.hpp>

#include "errors.hpp"
#include "log.hpp"

namespace sidekick::host {

ServerUrl parse_server_url(const std::string& text) {
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed || (parsed->scheme() != "http" && parsed->scheme() != "https") || parsed->host().empty()) {
    const std::size_t at = text.rfind('@');  // what may be a password is not shown
    const std::size_t slash = at == std::string::npos ? at : text.rfind('/', at);
    std::string shown = text;
    if (at != std::string::npos) shown = text.substr(0, slash == std::string::npos ? 0 : slash + 1) + "..." + text.substr(at);
    throw ConfigError("server URL: expected something like http://localhost:3000/api/covenant, got " + quote_text(shown));
  }
  if (parsed->has_userinfo()) {
    throw ConfigError("server URL: a user and password in it are not sent; leave them out, the app server knows the Sidekick by its server secret");
  }
  boost::urls::url url(*parsed);
  url.remove_fragment();
  if (url.path().empty()) url.set_path("/");
  url.params().set("type", "channel");

  ServerUrl result;
  result.is_https = url.scheme() == "https";
  result.host = url.host_address();
  result.port = url.port().empty() ? (result.is_https ? "443" : "80") : std::string(url.port());
  result.authority = std::string(url.encoded_host_and_port());
  result.target = std::string(url.encoded_resource());
  result.shown = std::string(url.scheme()) + "://" + result.authority + std::string(url.encoded_path());
  return result;
}

}  // namespace sidekick::host
