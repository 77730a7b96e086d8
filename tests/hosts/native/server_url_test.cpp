// URLs of the app server and its redirects that the parser of Boost reads wrongly.
#include "http/server_url.hpp"

#include <doctest/doctest.h>

namespace sidekick::host {

TEST_CASE("a name that begins with an IPv4 address is not that address") {
  const ServerUrl url = parse_server_url("http://10.0.0.1.nip.io:3000/x");
  CHECK(url.host == "10.0.0.1.nip.io");
  CHECK(url.port == "3000");
  CHECK(url.authority == "10.0.0.1.nip.io:3000");
  CHECK(url.target == "/x?type=channel");
  CHECK(url.shown == "http://10.0.0.1.nip.io:3000/x");
  CHECK(redirected(url, "/y")->authority == "10.0.0.1.nip.io:3000");
  CHECK(redirected(url, "https://10.0.0.2.nip.io/y")->host == "10.0.0.2.nip.io");
  CHECK(redirected(url, "http://10.0.0.2/y")->host == "10.0.0.2");
}

}  // namespace sidekick::host
