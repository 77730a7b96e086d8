// Body limits before a body is read, and secrets: the parts of HTTP that conversations cannot show.
#include <doctest/doctest.h>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

TEST_CASE("asks for a body only with the right path, method and bearer") {
  Scenario s(R"("http_body_bytes_max": 1000)");
  const auto admit = [&](Bytes method, Bytes path, Bytes authorization) {
    return s.admit({0, 0, method, path, authorization, "", ""});
  };
  for (const Bytes path : {"/connection", "/resources", "/message", "/message?x=1"}) {
    CAPTURE(path);
    CHECK(admit("POST", path, bearer) == "body 1000\n");
    CHECK(admit("POST", path, "Bearer wrong") == "answer\n");
    CHECK(admit("POST", path, "") == "answer\n");
    CHECK(admit("GET", path, bearer) == "answer\n");
  }
  CHECK(admit("POST", "/", bearer) == "answer\n");
  CHECK(admit("GET", "/health", bearer) == "ask\n");
  CHECK(admit("GET", "/health", "") == "answer\n");
  CHECK(admit("GET", "/health", "Bearer wrong") == "answer\n");
  CHECK(admit("POST", "/health", bearer) == "answer\n");
  CHECK(admit("GET", "/ready", "") == "ask\n");
  CHECK(admit("GET", "/socket", bearer) == "answer\n");
}

TEST_CASE("a request whose body is not needed gets the same answer without it") {
  Scenario with;
  Scenario without;
  const std::string body = R"({"resources":["r"]})";
  for (const Bytes authorization : {Bytes("Bearer wrong"), Bytes(), Bytes("Basic x")}) {
    CHECK(with.post("/resources", body, authorization) ==
          without.request("POST", "/resources", authorization, "", 19));
  }
  CHECK(with.request("PUT", "/resources", bearer, body) ==
        without.request("PUT", "/resources", bearer));
  CHECK(with.request("POST", "/nowhere", bearer, body) ==
        without.request("POST", "/nowhere", bearer));
}

TEST_CASE("accepts each of several secrets, and no mixture of them") {
  Config config;
  REQUIRE(decode_config(R"({"secrets":["old-secret","new","\u0065\u0021"]})", config).empty());
  const Hub hub(config);
  CHECK(hub.is_authorized("Bearer old-secret"));
  CHECK(hub.is_authorized("bearer new"));
  CHECK(hub.is_authorized("Bearer e!"));
  CHECK_FALSE(hub.is_authorized(Bytes("Bearer\0new", 10)));  // NUL is not a lower-case space
  for (const Bytes wrong : {"Bearer old", "Bearer old-secretnew", "Bearer newnew", "Bearer ne",
                            "Bearer new ", "Bearer  new", "Bearer", "Bearer ", "", "new",
                            "Basic new", "Bearer\tnew", "Bearer new,Bearer new"}) {
    CAPTURE(wrong);
    CHECK_FALSE(hub.is_authorized(wrong));
  }
}

TEST_CASE("a hub returns its configuration and keeps its own copy") {
  Config config;
  REQUIRE(decode_config(R"({"secrets":["s"],"params_max":3})", config).empty());
  const Hub hub(config);
  config.params_max = 9;
  CHECK(hub.config().params_max == 3);
}

}  // namespace
