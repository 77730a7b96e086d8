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
  CHECK(admit("GET", "/metrics", bearer) == "metrics\n");
  CHECK(admit("HEAD", "/metrics", bearer) == "metrics\n");
  CHECK(admit("GET", "/metrics", "") == "answer\n");
  CHECK(admit("GET", "/metrics", "Bearer wrong") == "answer\n");
  CHECK(admit("POST", "/metrics", bearer) == "answer\n");
}

TEST_CASE("the secret for the metrics opens nothing else") {
  Scenario s(R"("metrics_secret": "m")");
  const auto admit = [&](Bytes method, Bytes path, Bytes authorization) {
    return s.admit({0, 0, method, path, authorization, "", ""});
  };
  CHECK(admit("GET", "/metrics", "Bearer m") == "metrics\n");
  CHECK(admit("GET", "/metrics?x", bearer) == "metrics\n");
  CHECK(admit("GET", "/metrics", "Bearer ") == "answer\n");
  CHECK(admit("GET", "/metrics", "") == "answer\n");
  for (const Bytes path : {"/connection", "/resources", "/message"}) {
    CAPTURE(path);
    CHECK(admit("POST", path, "Bearer m") == "answer\n");
    CHECK(s.post(path, "{}", "Bearer m").starts_with("respond 401"));
  }
  // As an input it opens nothing: a recording does not say which secret it was.
  for (const Bytes path : {"/health", "/ready", "/metrics"})
    CHECK(s.request("GET", path, "Bearer m").starts_with("respond 401"));
  CHECK(s.request("GET", "/metrics", bearer).find("sidekick_build_info") != std::string::npos);
  Scenario none;
  CHECK(none.admit({0, 0, "GET", "/metrics", "Bearer ", "", ""}) == "answer\n");
}

TEST_CASE("asking for the metrics changes nothing, and neither does counting the state") {
  Scenario s;
  s.open(1);
  const u64 before = s.hub().state_hash();
  std::string first;
  std::string second;
  s.hub().append_metrics(first);
  s.hub().append_metrics(second);
  CHECK(first == second);
  CHECK(s.hub().state_hash() == before);
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
