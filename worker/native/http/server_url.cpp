#include "http/server_url.hpp"

#include <algorithm>

#include <boost/url/src.hpp>

#include "errors.hpp"
#include "log.hpp"

namespace sidekick::host {

namespace {

/// The parser accepts only digits, but any number of them.
bool is_port(const std::string& text) {
  if (text.empty()) return true;  // the scheme's default
  const std::size_t digits = text.size() - std::min(text.find_first_not_of('0'), text.size());
  return digits > 0 && digits <= 5 && std::stoul(text) <= 65535;
}

/// Boost 1.81 reads 10.0.0.1.nip.io as an address and a path. With an escape it is a name, and
/// normalize_authority() decodes the escape.
std::string with_name(std::string text) {
  const auto parsed = boost::urls::parse_uri_reference(text);
  if (!parsed || parsed->host_type() != boost::urls::host_type::ipv4) return text;
  const std::string_view path = parsed->encoded_path();
  if (path.empty() || path.starts_with('/')) return text;
  const auto digit = parsed->encoded_host().data() - text.data();
  return text.insert(static_cast<std::size_t>(digit), "%3");
}

bool is_http(const boost::urls::url_view_base& url) {
  const bool is_scheme =
      url.scheme_id() == boost::urls::scheme::http || url.scheme_id() == boost::urls::scheme::https;
  return is_scheme && !url.host().empty() && is_port(std::string(url.port()));
}

ServerUrl server_url(boost::urls::url url) {
  url.remove_fragment();
  url.normalize_scheme();
  url.normalize_authority();
  if (url.path().empty()) url.set_path_absolute(true);  // set_path("/") makes it "/./"
  ServerUrl result;
  result.is_https = url.scheme_id() == boost::urls::scheme::https;
  result.host = url.host_address();
  result.port = url.port().empty() ? (result.is_https ? "443" : "80") : std::string(url.port());
  result.authority = std::string(url.encoded_host_and_port());
  result.target = std::string(url.encoded_resource());
  result.shown = std::string(result.is_https ? "https://" : "http://") + result.authority +
                 std::string(url.encoded_path());
  return result;
}

}  // namespace

ServerUrl parse_server_url(const std::string& text) {
  const std::string named = with_name(text);
  const auto parsed = boost::urls::parse_uri(named);
  if (!parsed || !is_http(*parsed)) {
    const std::size_t at = text.rfind('@');  // the input may hold a password, so it is not shown
    const std::size_t slash = at == std::string::npos ? at : text.rfind('/', at);
    std::string shown = text;
    if (at != std::string::npos)
      shown = text.substr(0, slash == std::string::npos ? 0 : slash + 1) + "..." + text.substr(at);
    throw ConfigError("server URL: expected a URL like http://localhost:3000/api/covenant, got " +
                      quote_text(shown));
  }
  if (parsed->has_userinfo()) {
    throw ConfigError(
        "server URL: a user name and password in it are not sent; remove them and "
        "use the server secret");
  }
  boost::urls::url url(*parsed);
  url.params().set("type", "channel");
  return server_url(std::move(url));
}

std::optional<ServerUrl> redirected(const ServerUrl& from, const std::string& location) {
  const std::string whole =
      with_name((from.is_https ? "https://" : "http://") + from.authority + from.target);
  const std::string named = with_name(location);
  const auto base = boost::urls::parse_uri(whole);
  const auto reference = boost::urls::parse_uri_reference(named);
  if (!base || !reference) return std::nullopt;
  boost::urls::url url(*base);
  if (!url.resolve(*reference) || !is_http(url)) return std::nullopt;
  url.remove_userinfo();
  // Read again: resolve() of Boost 1.81 leaves sizes of decoded parts that its assertions refuse.
  return server_url(boost::urls::url(boost::urls::parse_uri(url.buffer()).value()));
}

}  // namespace sidekick::host
