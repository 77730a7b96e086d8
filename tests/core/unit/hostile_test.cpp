// Hostile input: large, deep, many, in pieces. Inputs small enough to read are in conversations/.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

constexpr Bytes pong = "send 1 {\"type\":\"pong\"}\n";

TEST_SUITE_BEGIN("reference");

TEST_CASE("reference: data nested 2,000 deep, or 100,000, must not end the process") {
  Scenario s;
  s.open(1);
  for (const u64 levels : {2'000, 100'000}) {
    for (const Bytes opening : {"[", "{\"a\":", "set {", "map {", "map { 1:"}) {
      const std::string frame = "{\"type\":\"ping\",\"x\":" + repeat(opening, levels);
      CHECK(s.frame(1, frame).find("expected at most 256 levels of nesting (depth_max)") !=
            std::string::npos);
      CHECK(
          s.post("/message", frame)
              .find("respond 400 [size] Bad Request: not valid ION: expected at most 256 levels of "
                    "nesting") == 0);
    }
  }
  CHECK(s.frame(1, R"({"type":"ping"})") == pong);
}

TEST_CASE("reference: a publish is O(subscribers): nobody else receives anything") {
  Scenario s;
  for (ClientId client = 1; client <= 5'000; ++client) s.open(client);
  s.frame(4'321, R"({"type":"listen","resources":["r"]})");
  CHECK(s.post("/resources", R"({"resources":["r","s"]})") ==
        "send 4321 { \"type\": \"updated\", \"resource\": \"r\" }\nrespond 200 OK\n");
}

TEST_CASE("reference: nothing remains after 3,000 cycles of connecting and closing") {
  Scenario s(R"("token_resume_ms": 1000)");
  for (ClientId client = 1; client <= 3'000; ++client) {
    s.open(client);
    const std::string token = compose({"t", Digits(client)});
    s.post("/connection", compose({"{\"token\":\"", token, "\",\"channel\":\"c\",\"params\":{}}"}));
    s.frame(client, compose({"{\"type\":\"subscribe\",\"token\":\"", token, "\"}"}));
    s.frame(client, compose({"{\"type\":\"listen\",\"resources\":[\"r\",\"", token, "\"]}"}));
    s.close(client);
  }
  s.after(1000);
  s.timer();
  CHECK(s.token_rows().empty());
  CHECK(s.client_rows().empty());
  CHECK(s.request("GET", "/health", bearer) ==
        "respond 200 (application/json) "
        "{\"status\":\"ok\",\"version\":\"0.1.0\",\"clients\":0,\"tokens\":0,\"topics\":0,"
        "\"forwards\":0}\n");
}

TEST_CASE(
    "reference: a character split at a packet boundary must not change: truncated text is "
    "rejected, never repaired") {
  Scenario s;
  const std::string body = R"({"channel":"c","params":{"a":"é😀"},"data":1})";
  for (std::size_t size = 0; size < body.size(); ++size) {
    CHECK(s.post("/message", Bytes(body).substr(0, size))
              .starts_with("respond 400 [syntax] Bad Request: not valid ION: expected "));
  }
  CHECK(s.post("/message", body) == "respond 200 OK\n");
}

TEST_SUITE_END();

TEST_CASE("answers frames of 1 MiB of anything and stays usable") {
  Scenario s;
  s.open(1);
  constexpr u64 size = 1u << 20;
  for (const Bytes part : {"[", "{", "\"", "\\", "9", "-", ",", " ", "\xff", "a", "{\"a\":", "[1,",
                           "\"\\ud800", "date:2", "map{", "null"}) {
    const std::string frame = repeat(part, size / part.size());
    const std::string said = s.frame(1, frame, false);
    CAPTURE(said);
    CHECK(said.starts_with("send 1 ["));
    CHECK(said.find("{ \"type\": \"error\"") != std::string::npos);
  }
  CHECK(s.frame(1, "{\"type\":\"ping\"}" + repeat("\n", size - 15)) == pong);
  CHECK(s.frame(1, "{\"type\":\"ping\",\"x\":\"" + repeat("é", (size - 22) / 2) + "\"}") == pong);
  CHECK(s.frame(1, "{\"type\":\"ping\",\"x\":[" + repeat("{},", 300'000) + "1]}") == pong);
  CHECK(s.frame(1, repeat("x", size + 1))
            .find("message has 1048577 bytes; the limit is 1048576 (frame_bytes_max)") !=
        std::string::npos);
}

TEST_CASE("relays 1 MiB of data byte for byte") {
  Scenario s;
  s.open(1);
  s.post("/connection", R"({"token":"t","channel":"c","params":{}})");
  const std::string data = "\"" + repeat("0123456789abcde\\u0041", 49'000) + "\"";
  s.frame(1,
          compose({"{\"type\":\"send\",\"token\":\"t\",\"channel\":\"c\",\"params\":{},\"data\":",
                   data, "}"}));
  Bytes forwarded;
  for (const Action& action : s.actions()) {
    if (action.tag == ActionTag::forward) forwarded = action.forward.body;
  }
  CHECK(forwarded == compose({R"({ "channel": "c", "params": {}, "data": )", data, " }"}));
}

TEST_CASE("rejects thousands of params, members and duplicates quickly") {
  Scenario s;
  s.open(1);
  std::string params;
  for (u32 i = 0; i < 20'000; ++i)
    params += compose({i == 0 ? "" : ",", "\"p", Digits(i), "\":\"\""});
  const std::string frame =
      compose({"{\"type\":\"send\",\"token\":\"t\",\"channel\":\"c\",\"params\":{", params,
               "},\"data\":1}"});
  CHECK(s.frame(1, frame).find("expected at most 64 params (params_max), found one more") !=
        std::string::npos);
  CHECK(s.frame(1, compose({"{", params, ",\"type\":\"ping\"}"})) == pong);
  CHECK(s.frame(1, compose({"{", repeat("\"type\":\"ping\",", 20'000), "\"type\":\"ping\"}"}))
            .find("duplicate member") != std::string::npos);
}

TEST_CASE("the length of an error text is bounded") {
  Scenario s;
  s.open(1);
  const std::string long_name = repeat("n", 100'000);
  const auto is_short = [](const std::string& actions) { return actions.size() < 500; };
  CHECK(is_short(s.frame(1, "{\"type\":\"" + long_name + "\"}")));
  CHECK(is_short(s.frame(1, "{\"type\":\"send\",\"token\":\"t\",\"channel\":\"c\",\"params\":{\"" +
                                long_name + "\":1}}")));
  CHECK(is_short(s.frame(
      1, "{\"type\":\"send\",\"token\":\"t\",\"channel\":\"" + long_name + "\",\"params\":{}}")));
  CHECK(is_short(s.frame(1, "{\"type\":\"" + repeat("é", 40'000) + "\"}")));
  CHECK(is_short(s.post("/resources", "{\"resources\":[\"" + long_name + "\"]}")));
}

TEST_CASE("the cost of a change to a client's record does not depend on the record's size") {
  Scenario s;
  s.open(1);
  std::string names;
  for (u32 i = 0; i < 1'000; ++i)
    names += compose({i == 0 ? "" : ",", "\"", Digits(i), repeat("x", 1'000), "\""});
  REQUIRE(s.frame(1, compose({"{\"type\":\"listen\",\"resources\":[", names, "]}"}))
              .find("listening") != std::string::npos);
  u64 written = 0;
  constexpr u32 toggles = 2'000;
  for (u32 i = 0; i < toggles; ++i) {
    const Bytes type = i % 2 == 0 ? "listen" : "unlisten";
    s.frame(1, compose({"{\"type\":\"", type, "\",\"resources\":[\"z\"]}"}));
    for (const Action& action : s.actions()) {
      if (action.tag == ActionTag::attach_client) written += action.attach_client.record.size();
    }
  }
  CHECK(written < toggles * 200);
}

TEST_CASE("a client's record stays proportional to its content, and a restart continues from it") {
  Scenario s;
  s.open(1);
  for (u32 round = 0; round < 3; ++round) {
    for (u32 i = 0; i < 500; ++i) {
      const std::string name = std::to_string(i % 7);
      const Bytes type = i % 3 == 0 ? "unlisten" : "listen";
      s.frame(1, compose({"{\"type\":\"", type, "\",\"resources\":[\"", name, "\"]}"}));
      REQUIRE(s.client_rows().at(1).size() < 2'000);
    }
    s.restart();
  }
}

TEST_CASE("an error reply is small, however large the message") {
  Scenario s;
  s.open(1);
  std::string params;
  for (u32 i = 0; i < 60; ++i)
    params += compose({i == 0 ? "" : ",", "\"", Digits(i), "\":\"", repeat("\x01", 1'000), "\""});
  const std::string frame =
      compose({"{\"type\":\"send\",\"token\":\"t\",\"channel\":\"c\",\"params\":{", params,
               "},\"data\":1}"});
  CHECK(s.frame(1, frame) ==
        s.frame(1, R"({"type":"send","token":"t","channel":"c","params":{},"data":1})"));
}

TEST_CASE("the same error gets the same answer on every hub, whatever its hash seed") {
  Scenario one;
  Scenario other(R"("params_max": 64)");
  for (const Bytes frame :
       {"{", "{\"type\":\"x\"}", "[1,2", "{\"type\":\"subscribe\",\"token\":\"x\"}"}) {
    one.open(1);
    other.open(1);
    CHECK(one.frame(1, frame) == other.frame(1, frame));
    one.close(1);
    other.close(1);
  }
}

/// Returns whether `act` ends a process by a signal.
template <class Act>
bool traps(Act&& act) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int signal : {SIGILL, SIGTRAP, SIGABRT})
      std::signal(signal, SIG_DFL);  // doctest's own handler would report a failure
    act();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST_CASE("traps if a faulty host opens a client handle twice") {
  CHECK_FALSE(traps([] {
    Scenario s;
    s.open(1);
    s.close(1);
    s.open(1);
  }));
  CHECK(traps([] {
    Scenario s;
    s.open(1);
    s.open(1);
  }));
  CHECK(traps([] {
    Scenario s;
    s.open(1);
    s.restore_client(1, "");
  }));
}

}  // namespace
