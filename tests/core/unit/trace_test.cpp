// Traces: they read back as written, never contain a secret, and include the golden ones that no
// conversation produces.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "conversation.hpp"
#include "random_talk.hpp"
#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"
#include "trace/core_hub.hpp"
#include "trace/replay.hpp"
#include "trace/trace_reader.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;
using Step = trace::Reader::Step;

/// Passes the trace's inputs to fresh hubs and returns what they record.
std::string replayed(const std::string& text) {
  std::istringstream stream(text);
  trace::Reader reader(stream);
  std::unique_ptr<Hub> hub;
  trace::Recording recording;
  Actions actions;
  std::string out;
  for (;;) {
    switch (reader.next()) {
      case Step::header:
        hub = std::make_unique<Hub>(reader.config());
        recording = trace::Recording();
        trace::append_header(out, reader.config());
        out += '\n';
        break;
      case Step::input:
        hub->handle(reader.now(), reader.input(), actions);
        recording.append(out, *hub, reader.now(), reader.input(), actions);
        break;
      case Step::action:
        break;
      case Step::hash:
        recording.append_hash(out, *hub);
        break;
      case Step::end:
        return out;
      case Step::broken:
        return compose({"line ", Digits(reader.line_number()), ": ", reader.error()});
    }
  }
}

void check_trace(Bytes name, const std::string& text) {
  const std::string difference =
      check_golden(compose({SIDEKICK_TRACES, "/", name, ".jsonl"}), text);
  if (!difference.empty()) FAIL_CHECK(difference);
  CHECK(replayed(text) == text);
}

TEST_CASE("golden: a message and an update to 1,000 subscribers") {
  Scenario s;
  for (ClientId client = 1; client <= 1'000; ++client) {
    const std::string token = compose({"t", Digits(client)});
    s.open(client);
    s.post("/connection",
           compose({R"({"token":")", token, R"(","channel":"news","params":{"topic":"all"}})"}));
    s.frame(client, compose({R"({"type":"subscribe","token":")", token, R"("})"}));
    if (client % 2 == 0) s.frame(client, R"({"type":"listen","resources":["todo/1"]})");
  }
  s.post(
      "/message",
      R"({"channel":"news","params":{"topic":"all"},"data":{"headline":"\u00e9\ud83d\ude00","body":[1,2,3]}})");
  CHECK(s.actions()[0].send.clients.size() == 1'000);
  s.post("/resources", R"({"resources":["todo/1","todo/2"]})");
  CHECK(s.actions()[0].send.clients.size() == 500);
  for (ClientId client = 1; client <= 1'000; client += 3) s.close(client);
  s.post("/message", R"({"channel":"news","params":{"topic":"all"},"data":"fewer"})");
  CHECK(s.actions()[0].send.clients.size() == 666);
  check_trace("fan_out", s.trace());
}

TEST_CASE("golden: random conversations with restarts") {
  std::string text;
  for (u64 seed = 1; seed <= 8; ++seed) {
    TalkHost host(
        seed % 2 == 0
            ? Bytes(R"("token_ttl_ms": 2000, "token_resume_ms": 1000, "forward_timeout_ms": 500)")
            : Bytes());
    Random random{seed};
    for (u32 i = 0; i < 60; ++i) {
      take(host, random_step(random, open_clients(host)));
      if (!random.one_in(25)) continue;
      host.scenario.restart(random.one_in(2) ? std::set<ClientId>{1, 2} : std::set<ClientId>());
      host.in_flight.clear();
    }
    text += host.scenario.trace();
  }
  check_trace("random", text);
}

TEST_CASE("reading and replaying a trace of random conversations writes the same trace") {
  const auto [first, last] = seed_range(30);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    TalkHost host("");
    Random random{seed};
    for (u32 i = 0; i < 50; ++i) take(host, random_step(random, open_clients(host)));
    CHECK(replayed(host.scenario.trace()) == host.scenario.trace());
  }
}

std::string state_of(Hub& hub) {
  std::string line;
  trace::Recording().append_hash(line, hub);
  return line;
}

TEST_CASE(
    "the state hash is equal after a restore, and after a different history with the same state") {
  Scenario s;
  const std::string nothing = state_of(s.hub());
  s.open(1);
  s.open(2);
  s.post("/connection", R"({"token":"t","channel":"c","params":{"a":"1"},"context":[1]})");
  s.post("/connection", R"({"token":"u","channel":"c","params":{}})");
  s.frame(1, R"({"type":"subscribe","token":"t"})");
  s.frame(2, R"({"type":"listen","resources":["x","y"]})");
  const std::string before = state_of(s.hub());
  s.restart();
  s.timer();
  CHECK(state_of(s.hub()) == before);
  s.open(3);  // takes another slot than before, and frees it
  s.frame(3, R"({"type":"listen","resources":["z","x"]})");
  CHECK(state_of(s.hub()) != before);
  s.close(3);
  CHECK(state_of(s.hub()) == before);
  s.close(1);
  s.close(2);
  CHECK(state_of(s.hub()) != nothing);  // two free tokens
  s.after(10'000'000);
  s.timer();
  CHECK(state_of(s.hub()) == nothing);
}

TEST_CASE(
    "the state hash covers every change: holders, contexts, expiry, listeners, queued messages") {
  const auto hash_of = [](auto&&... step) {
    Scenario s;
    s.open(1);
    s.open(2);
    (step(s), ...);
    return state_of(s.hub());
  };
  const auto token = [](Bytes context, Bytes params = "{}") {
    return [=](Scenario& s) {
      s.post("/connection", compose({R"({"token":"t","channel":"c","params":)", params,
                                     R"(,"context":)", context, "}"}));
    };
  };
  const auto frame = [](ClientId client, Bytes text) {
    return [=](Scenario& s) { s.frame(client, text); };
  };
  const auto later = [](Scenario& s) { s.after(1); };
  constexpr Bytes subscribe = R"({"type":"subscribe","token":"t"})";
  constexpr Bytes send = R"({"type":"send","token":"t","channel":"c","params":{},"data":1})";
  constexpr Bytes send_other = R"({"type":"send","token":"t","channel":"c","params":{},"data":2})";
  const std::string hashes[] = {
      hash_of(),
      hash_of(token("1")),
      hash_of(token("2")),
      hash_of(token("1", R"({"a":"b"})")),
      hash_of(later, token("1")),
      hash_of(token("1"), frame(1, subscribe)),
      hash_of(token("1"), frame(2, subscribe)),
      hash_of(token("1"), frame(1, send)),
      hash_of(token("1"), frame(1, send), frame(1, send)),
      hash_of(token("1"), frame(1, send), frame(1, send_other)),
      hash_of(frame(1, R"({"type":"listen","resources":["x"]})")),
      hash_of(frame(2, R"({"type":"listen","resources":["x"]})")),
      hash_of(frame(1, R"({"type":"listen","resources":["x","y"]})")),
      hash_of(frame(1, R"({"type":"listen","resources":["y","x"]})")),
      hash_of([](Scenario& s) { s.handle(input::ShuttingDown{}); }),
      hash_of([](Scenario& s) { s.handle(input::Draining{1000}); }),
      hash_of([](Scenario& s) { s.handle(input::Draining{2000}); }),
      hash_of(later, [](Scenario& s) { s.handle(input::Draining{1000}); }),
      hash_of([](Scenario& s) { s.close(2); }),
      hash_of([](Scenario& s) { s.close(1); }),
      hash_of(token("1"), frame(2, send)),
      hash_of(token("1"), later, frame(1, send)),
      hash_of(token("1"), frame(1, send), [](Scenario& s) { s.close(1); }),
  };
  for (const std::string& one : hashes) {
    CAPTURE(&one - hashes);
    CHECK(std::ranges::count(hashes, one) == 1);
  }
}

TEST_CASE(
    "the lines hash covers all lines so far; a hash is due after 1,024 inputs, or more with more "
    "state") {
  Scenario s;
  trace::Recording recording;
  std::string lines;
  const auto take = [&](ClientId client) {
    s.open(client);
    recording.append(lines, s.hub(), s.now(), input::ClientOpened{client}, s.actions());
    return recording.take_due_hash(s.hub());
  };
  for (ClientId client = 1; client < 1'024; ++client) REQUIRE(!take(client));
  CHECK(take(1'024));
  for (ClientId client = 1'025; client < 3'000; ++client)
    CHECK(take(client) ==
          false);  // from here on more than 1,024 clients: state grows with every input
}

TEST_CASE("state_size counts subscriptions and queued messages, not names alone") {
  Scenario s;
  s.open(1);
  s.open(2);
  const u64 empty = s.hub().state_size();
  std::string names;
  for (u32 i = 0; i < 100; ++i)
    names += compose({names.empty() ? "\"a resource, " : ", \"a resource, ", Digits(i), "\""});
  const std::string listen = compose({R"({"type":"listen","resources":[)", names, "]}"});
  s.frame(1, listen);
  const u64 one = s.hub().state_size();
  CHECK(one >= empty + 100);
  s.frame(2, listen);
  CHECK(s.hub().state_size() >= one + 40);  // one more list of names, but no more names
  s.post("/connection", R"({"token":"t","channel":"c","params":{}})");
  const u64 before = s.hub().state_size();
  const std::string send =
      compose({R"({"type":"send","token":"t","channel":"c","params":{},"data":")",
               std::string(64'000, 'x'), R"("})"});
  s.frame(1, send);
  s.frame(1, send);
  CHECK(s.hub().state_size() >= before + 1'000);
}

TEST_CASE("tokens due in the same millisecond expire in the same order, whatever the hash seed") {
  const auto order_with = [](Bytes hash_seed) {
    Scenario s(compose({R"("hash_seed":")", hash_seed, "\""}));
    std::string order;
    for (const char* key : {"a", "b", "c", "d", "e", "f", "g"})
      s.post("/connection", compose({R"({"token":")", key, R"(","channel":"c","params":{}})"}));
    s.after(10'000'000);
    s.timer();
    for (const Action& action : s.actions()) {
      if (action.tag == ActionTag::erase_token) order += action.erase_token.key;
    }
    return order;
  };
  const std::string order = order_with("0000000000000001");
  CHECK(order.size() == 7);
  for (const Bytes seed : {"0000000000000002", "00000000000000ff", "ffffffffffffffff"})
    CHECK(order_with(seed) == order);
}

TEST_CASE("a trace never contains a secret, right or wrong: only whether it was right") {
  Scenario s;
  s.post("/resources", R"({"resources":[]})", bearer);
  s.post("/resources", R"({"resources":[]})", "Bearer a wrong guess");
  s.request("GET", "/health", "Basic dXNlcjpwYXNz");
  CHECK(s.trace().find("the-secret") == std::string::npos);
  CHECK(s.trace().find("a wrong guess") == std::string::npos);
  CHECK(s.trace().find("dXNlcjpwYXNz") == std::string::npos);
  CHECK(s.trace().find(R"("authorized":true)") != std::string::npos);
  CHECK(s.trace().find(R"("authorized":false)") != std::string::npos);
}

TEST_CASE(
    "the first line contains the version, the hash seed and every limit with its effective value") {
  Config config;
  REQUIRE(
      decode_config(R"({"secrets":["s"],"params_max":7,"hash_seed":"00000000000000ff"})", config)
          .empty());
  std::string header;
  trace::append_header(header, config);
  CHECK(header.starts_with(
      R"({"trace":2,"core":"0.1.0","hash_seed":"00000000000000ff","config":{"frame_bytes_max":1048576,)"));
  CHECK(header.find(R"("params_max":7,)") != std::string::npos);
  for (const LimitEntry& limit : limits)
    CHECK(header.find(compose({"\"", limit.name, "\":"})) != std::string::npos);
  CHECK(header.find("secret") == std::string::npos);
}

TEST_CASE("a trace stores bytes that are not UTF-8 as base64, at every length") {
  for (const Bytes bytes : {Bytes("\xff"), Bytes("\xff\x00", 2), Bytes("\xff\xfe\xfd"),
                            Bytes("\x00\xff\x10\x80", 4), Bytes("\xed\xa0\x80")}) {
    Scenario s;
    s.open(1);
    s.frame(1, bytes);
    CHECK(s.trace().find("{\"base64\":\"") != std::string::npos);
    CHECK(replayed(s.trace()) == s.trace());
  }
}

TEST_CASE("a trace stores control characters, quotes and every plane of Unicode as JSON strings") {
  Scenario s;
  s.open(1);
  s.frame(1, Bytes("\0\x01\n\"\\/\x7f é€😀\xef\xbf\xbf", 21));
  CHECK(s.trace().find("base64") == std::string::npos);
  CHECK(replayed(s.trace()) == s.trace());
}

/// Written by the version before ABI version 2, and never rewritten: users have such recordings.
TEST_CASE("recordings of format 1 replay with the same states, and other error texts at most") {
  for (const Bytes name :
       {"bytes", "channels", "fan_out", "forwards", "frames", "http", "limits", "random",
        "reference", "resources", "restore", "time", "tokens", "topics"}) {
    CAPTURE(name);
    std::ifstream stream(compose({SIDEKICK_TRACES, "/format-1/", name, ".jsonl"}));
    REQUIRE(stream.good());
    trace::CoreHub hub;
    trace::Onlooker nobody;
    const trace::ReplayResult result = trace::replay(stream, hub, nobody);
    CAPTURE(result.line);
    CAPTURE(result.expected);
    CAPTURE(result.got);
    CHECK(result.outcome == trace::ReplayResult::Outcome::same);
    CHECK(result.inputs > 0);
    const bool has_changed = name == "bytes" || name == "forwards" || name == "http" ||
                             name == "reference" || name == "random" || name == "time";
    CHECK((result.changed_texts > 0) == has_changed);
  }
}

TEST_CASE("rejects a text that is not a trace and names what was expected") {
  const std::string header = [] {
    std::string text;
    Config config;
    config.secrets = {"s"};
    trace::append_header(text, config);
    return text + "\n";
  }();
  const auto refusal = [](const std::string& text) { return replayed(text).substr(0, 70); };
  CHECK(refusal("nonsense\n").starts_with("line 1: expected a JSON object, found nonsense"));
  CHECK(refusal("[]\n").starts_with("line 1: expected a JSON object, found []"));
  CHECK(refusal("{}\n").starts_with("line 1: expected the first line of a trace, "));
  CHECK(refusal("{\"trace\":3}\n").starts_with("line 1: expected trace format 1 or 2"));
  CHECK(refusal("{\"trace\":1}\n")
            .starts_with("line 1: expected \"config\", an object, and \"hash_seed\""));
  CHECK(refusal(header + "{}\n")
            .starts_with("line 2: expected a member \"trace\", \"in\", \"out\" or \"hash\""));
  CHECK(refusal(header + "\n{}\n").starts_with("line 2: expected a JSON object"));
  CHECK(refusal(header + R"({"in":"x","now":1})")
            .starts_with("line 2: expected the name of an input"));
  CHECK(refusal(header + R"({"in":"timer_fired"})")
            .starts_with("line 2: expected \"now\", a time in ms"));
  CHECK(refusal(header + R"({"in":"timer_fired","now":-1})")
            .starts_with("line 2: expected \"now\", a time in ms"));
  CHECK(refusal(header + R"({"in":"client_opened","now":1})")
            .starts_with("line 2: expected the fields of a client_opened input"));
  CHECK(refusal(header + R"({"in":"client_opened","now":1,"client":4294967296})")
            .starts_with("line 2: expected the fields of a"));
  for (const Bytes bytes : {"5", "{\"base64\":5}", "{\"base64\":\"A\"}", "{\"base64\":\"A===\"}",
                            "{\"base64\":\"A=AA\"}", "{}", "null"}) {
    CHECK(refusal(
              compose({header, R"({"in":"client_frame","now":1,"client":1,"bytes":)", bytes, "}"}))
              .starts_with("line 2: expected the fields of a"));
  }
}

}  // namespace
