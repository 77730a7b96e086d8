// Every limit of limits.def at n-1, n and n+1. A limit without a row here fails the last test.
#include <doctest/doctest.h>

#include <functional>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

/// Returns whether a hub whose limit is `n` accepts an amount.
using Probe = std::function<bool(Scenario&, u64 amount)>;

struct Row {
  Bytes limit;
  u64 n;
  Probe is_let_through;
  Bytes settings = "";
  bool is_time =
      false;  ///< a time expires when it is reached: n is the first amount that is too much
};

bool has_error(Bytes actions) { return actions.find("\"type\": \"error\"") != Bytes::npos; }
bool is_ok(Bytes actions) { return actions.find("respond 200") != Bytes::npos; }

std::string connection(Bytes token, Bytes channel = "c", Bytes params = "{}", Bytes more = "") {
  return compose(
      {"{\"token\":\"", token, "\",\"channel\":\"", channel, "\",\"params\":", params, more, "}"});
}

std::string send(Bytes token, Bytes data = "1") {
  return compose({"{\"type\":\"send\",\"token\":\"", token,
                  "\",\"channel\":\"c\",\"params\":{},\"data\":", data, "}"});
}

std::string listen(Bytes resources) {
  return compose({"{\"type\":\"listen\",\"resources\":[", resources, "]}"});
}
std::string quoted_x(u64 bytes) { return "\"" + repeat("x", bytes) + "\""; }

std::string numbered(u64 count, Bytes before, Bytes after) {
  std::string out;
  for (u64 i = 0; i < count; ++i) out += compose({i == 0 ? "" : ",", before, Digits(i), after});
  return out;
}

constexpr Bytes hello = R"({"type":"listen","resources":[],"hello":"0123456789abcdef"})";
/// The position at the start of a scenario.
constexpr Bytes since_start = R"("since":1699999999999999,"epoch":"0")";
std::string listen_since(Bytes resource) {
  return compose({"{\"type\":\"listen\",\"resources\":[", resource, "],", since_start, "}"});
}
constexpr Bytes subscribe_since_start =
    R"({"type":"subscribe","token":"t","since":1699999999999999,"epoch":"0"})";
bool is_recovered(Bytes actions) { return actions.find("\"recovered\": true") != Bytes::npos; }

/// A text of exactly `size` bytes whose meaning does not depend on the spaces.
std::string padded(std::string text, u64 size) {
  SIDEKICK_CHECK(text.size() <= size);
  return text + repeat(" ", size - text.size());
}

/// The cost of a message in the forward stores in addition to its text.
const u64 forward_rest =
    128 + Bytes("\"c\"{}").size() + Bytes(R"({ "channel": "c", "params": {}, "data": "" })").size();

constexpr Bytes with_engine = R"("engine_shards": 1, "node": "0123456789abcdef")";
void start_engine(Scenario& s) {
  const Bytes values[] = {"e1", "run-1", "5000"};
  s.handle(input::EngineUp{0, 0});
  s.handle(input::EngineAnswer{1, 0, values});
}

const std::vector<Row> rows = {
    {"frame_bytes_max", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       return !has_error(s.frame(1, padded(R"({"type":"ping"})", amount)));
     }},
    {"http_body_bytes_max", 100,
     [](Scenario& s, u64 amount) {
       return is_ok(s.post("/resources", padded(R"({"resources":[]})", amount)));
     }},
    {"depth_max", 8,
     [](Scenario& s, u64 amount) {
       s.open(1);
       return !has_error(s.frame(1, compose({"{\"type\":\"ping\",\"x\":", repeat("[", amount - 1),
                                             repeat("]", amount - 1), "}"})));
     }},
    {"resources_per_message_max", 5,
     [](Scenario& s, u64 amount) {
       s.open(1);
       const bool is_listened = !has_error(s.frame(1, listen(numbered(amount, "\"", "\""))));
       CHECK(is_listened ==
             is_ok(s.post("/resources",
                          compose({"{\"resources\":[", numbered(amount, "\"", "\""), "]}"}))));
       return is_listened;
     }},
    {"topics_per_client_max", 5,
     [](Scenario& s, u64 amount) {
       s.open(1);
       bool is_full = false;
       for (u64 i = 0; i < amount; ++i)
         is_full = has_error(s.frame(1, listen(compose({"\"", Digits(i), "\""}))));
       return !is_full;
     }},
    {"topic_bytes_per_client_max", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.frame(1, listen(quoted_x(60)));
       return !has_error(s.frame(1, listen("\"" + repeat("y", amount - 60) + "\"")));
     }},
    {"topic_store_bytes_max", 1100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       // The name counts for the topic and, in its stored form, for the listener's record; there a
       // newline takes one more byte.
       const u64 rest = amount - 128 - 16 - 2 * Bytes("resource:").size() - 2;
       return !has_error(s.frame(1, listen("\"" + repeat("x", rest / 2 - rest % 2) +
                                           (rest % 2 == 1 ? "\n" : "") + "\"")));
     }},
    {"tokens_per_client_max", 3,
     [](Scenario& s, u64 amount) {
       s.open(1);
       std::string last;
       for (u64 i = 0; i < amount; ++i) {
         const std::string token = compose({"t", Digits(i)});
         s.post("/connection", connection(token));
         last = s.frame(1, i % 2 == 0
                               ? send(token)
                               : compose({"{\"type\":\"subscribe\",\"token\":\"", token, "\"}"}));
       }
       return !has_error(last);
     }},
    {"token_bytes_max", 20,
     [](Scenario& s, u64 amount) {
       return is_ok(s.post("/connection", connection(repeat("x", amount))));
     }},
    {"channel_bytes_max", 20,
     [](Scenario& s, u64 amount) {
       return is_ok(s.post("/connection", connection("t", repeat("x", amount))));
     }},
    {"params_max", 5,
     [](Scenario& s, u64 amount) {
       return is_ok(
           s.post("/connection",
                  connection("t", "c", compose({"{", numbered(amount, "\"p", "\":\"\""), "}"}))));
     }},
    {"param_name_bytes_max", 5,
     [](Scenario& s, u64 amount) {
       return is_ok(s.post("/connection", connection("t", "c", "{" + quoted_x(amount) + ":\"\"}")));
     }},
    {"param_value_bytes_max", 5,
     [](Scenario& s, u64 amount) {
       return is_ok(
           s.post("/connection", connection("t", "c", "{\"p\":" + quoted_x(amount) + "}")));
     }},
    {"resource_bytes_max", 5,
     [](Scenario& s, u64 amount) {
       s.open(1);
       return !has_error(s.frame(1, listen(quoted_x(amount))));
     }},
    {"clients_max", 3,
     [](Scenario& s, u64 amount) {
       std::string last;
       for (u64 i = 1; i <= amount; ++i) last = s.open(static_cast<ClientId>(i));
       return last.empty();
     }},
    {"tokens_max", 3,
     [](Scenario& s, u64 amount) {
       std::string last;
       for (u64 i = 0; i < amount; ++i)
         last = s.post("/connection", connection(compose({"t", Digits(i)})));
       return is_ok(last);
     }},
    {"token_store_bytes_max", 1100,
     [](Scenario& s, u64 amount) {
       const u64 rest = 256 + 1 + Bytes("\"c\"{}channel:c/").size() +
                        2;  // key, channel, params, topic, and the quotes of the context
       return is_ok(s.post("/connection",
                           connection("t", "c", "{}", ",\"context\":" + quoted_x(amount - rest))));
     }},
    {"forwards_waiting_max", 3,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       std::string last;
       for (u64 i = 0; i < amount + 1; ++i)
         last = s.frame(1, send("t"));  // the first one is not queued
       return !has_error(last);
     }},
    {"forward_bytes_per_token_max", 1100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.frame(1, send("t", quoted_x(300)));  // in flight, and counted
       return !has_error(s.frame(1, send("t", quoted_x(amount - 300 - 2 * forward_rest))));
     }},
    {"forward_store_bytes_max", 1100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.post("/connection", connection("u"));
       s.frame(1, send("t", quoted_x(300)));
       return !has_error(s.frame(1, send("u", quoted_x(amount - 300 - 2 * forward_rest))));
     }},
    {"forward_answer_bytes_max", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.frame(1, send("t"));
       return s.forward_done(1, 400, padded(R"({"fault":"client","message":"its own"})", amount))
                  .find("its own") != std::string::npos;
     }},
    {"forward_timeout_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.frame(1, send("t"));
       s.after(amount);
       return !has_error(s.timer());
     },
     "", true},
    {"forward_concurrent", 1,
     [](Scenario& s, u64 amount) {
       // 0 or 1: with 1, a second message is not queued; there is no 2.
       if (amount == 2) return false;
       Scenario in_turn(R"("forward_concurrent": 0)");
       Scenario& it = amount == 0 ? in_turn : s;
       it.open(1);
       it.post("/connection", connection("t"));
       it.frame(1, send("t"));
       return (it.frame(1, send("t")).find("forward 2") != std::string::npos) == (amount == 1);
     }},
    {"token_ttl_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.after(amount);
       return !has_error(s.frame(1, send("t")));
     },
     "", true},
    {"token_resume_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.post("/connection", connection("t"));
       s.frame(1, send("t"));
       s.close(1);
       s.open(2);
       s.after(amount);
       return !has_error(s.frame(2, send("t")));
     },
     "", true},
    {"auth_failure_delay_ms", 100,
     [](Scenario& s, u64 amount) {
       // The answer must not come before the delay is over: an amount counts as accepted if the
       // client is still waiting then.
       s.post("/resources", R"({"resources":[]})", "Bearer wrong");
       return amount < s.actions()[0].respond.delay_ms;
     },
     "", true},
    {"client_buffer_bytes_max", 2000,
     [](Scenario& s, u64 amount) {
       s.open(1);
       return s.lag(1, static_cast<u32>(amount)).empty();
     },
     R"("http_body_bytes_max": 1000)"},
    {"frames_per_second", 10,
     [](Scenario& s, u64 amount) {
       s.open(1);
       bool is_refused = false;
       for (u64 i = 0; i < 2 * amount; ++i) {
         is_refused |= has_error(s.frame(1, R"({"type":"ping"})"));
         s.after(1000 / amount);
       }
       return !is_refused;
     },
     R"("frames_burst": 1)"},
    {"frames_burst", 5,
     [](Scenario& s, u64 amount) {
       s.open(1);
       std::string last;
       for (u64 i = 0; i < amount; ++i) last = s.frame(1, R"({"type":"ping"})");
       return !has_error(last);
     },
     R"("frames_per_second": 1)"},
    {"change_log_bytes_max", 200,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.frame(1, hello);
       const std::string name = quoted_x(amount - 64);
       s.post("/resources", compose({"{\"resources\":[", name, "]}"}));
       return is_recovered(s.frame(1, listen_since(name)));
     }},
    {"change_log_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.frame(1, hello);
       s.close(1);
       s.after(amount);
       s.open(2);
       s.frame(2, hello);
       return is_recovered(s.frame(2, listen_since("\"r\"")));
     },
     "", true},
    {"listen_lookback_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.open(2);
       s.frame(1, listen("\"r\""));
       s.post("/resources", R"({"resources":["r"]})");
       s.after(amount);
       return s.frame(2, listen("\"r\"")).find("updated") != std::string::npos;
     }},
    {"history_messages_max", 3,
     [](Scenario& s, u64 amount) {
       s.post("/connection", connection("t"));
       s.open(1);
       s.frame(1, hello);
       s.frame(1, subscribe_since_start);
       for (u64 i = 0; i < amount; ++i) s.post("/message", R"({"channel":"c","params":{}})");
       return is_recovered(s.frame(1, subscribe_since_start));
     }},
    {"history_bytes_max", 2000,
     [](Scenario& s, u64 amount) {
       s.post("/connection", connection("t"));
       s.open(1);
       s.frame(1, hello);
       s.frame(1, subscribe_since_start);
       const u64 rest =
           Bytes("channel:c/").size() + 160 + 96 +
           Bytes(
               R"({ "type": "message", "channel": "c", "params": {}, "data": "", "at": 1700000000000000 })")
               .size();
       s.post("/message",
              compose({R"({"channel":"c","params":{},"data":)", quoted_x(amount - rest), "}"}));
       return is_recovered(s.frame(1, subscribe_since_start));
     }},
    {"history_ms", 100,
     [](Scenario& s, u64 amount) {
       s.post("/connection", connection("t"));
       s.open(1);
       s.frame(1, hello);
       s.frame(1, subscribe_since_start);
       s.after(amount);
       return is_recovered(s.frame(1, subscribe_since_start));
     }},
    {"engine_wait_ms", 100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.frame(1, listen("\"r\""));
       s.after(amount);
       return !has_error(s.timer());
     },
     with_engine, true},
    {"engine_calls_max", 16,
     [](Scenario& s, u64 amount) {
       start_engine(s);
       std::string last;
       for (u64 i = 1; i <= amount; ++i) {
         s.open(static_cast<ClientId>(i));
         last = s.frame(static_cast<ClientId>(i), listen(compose({"\"", Digits(i), "\""})));
       }
       return !has_error(last);
     },
     with_engine},
    {"parked_bytes_per_client_max", 1000,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.frame(1, padded(listen("\"r\""), 300));
       return !has_error(s.frame(1, padded(listen("\"r\""), amount - 300 - 2 * 128)));
     },
     with_engine},
    {"parked_store_bytes_max", 1100,
     [](Scenario& s, u64 amount) {
       s.open(1);
       s.open(2);
       s.frame(1, padded(listen("\"r\""), 300));
       return !has_error(s.frame(2, padded(listen("\"r\""), amount - 300 - 2 * 128)));
     },
     with_engine},
    {"topic_linger_ms", 100,
     [](Scenario& s, u64 amount) {
       start_engine(s);
       s.open(1);
       s.frame(1, listen("\"r\""));
       s.handle(input::EngineAnswer{2, 0, {}});
       s.frame(1, R"({"type":"unlisten","resources":["r"]})");
       s.after(amount);
       return s.timer().find("leave") == std::string::npos;
     },
     with_engine, true},
    {"engine_retry_ms", 100,
     [](Scenario& s, u64 amount) {
       start_engine(s);
       s.open(1);
       s.frame(1, R"({"type":"subscribe","token":"t"})");
       const Bytes held = "held";
       s.handle(input::EngineAnswer{2, 0, {&held, 1}});
       s.after(amount);
       return s.timer().find("claim") == std::string::npos;
     },
     with_engine, true},
    {"engine_buffer_bytes_max", 1100,
     [](Scenario& s, u64 amount) {
       start_engine(s);
       s.open(1);
       s.frame(1, hello);
       s.frame(1, R"({"type":"subscribe","token":"t","since":5000,"epoch":"e1"})");
       const Bytes claimed[] = {"ok", R"({"channel":"c","params":{}})", "5000", "5000", "0"};
       s.handle(input::EngineAnswer{2, 0, claimed});
       s.handle(input::EngineAnswer{3, 0, {}});
       const std::string start = R"({ "type": "message", "channel": )";
       const std::string text = start + repeat("x", amount - 128 - start.size() - 2) + " }";
       const std::string body = "5001 " + text;
       s.handle(input::EngineMessage{0, "channel:c/", body});
       const Bytes nothing[] = {"5000", "ok"};
       return is_recovered(s.handle(input::EngineAnswer{4, 0, nothing}));
     },
     with_engine},
};

TEST_CASE(
    "reference: sizes, counts and rates must have limits: each lets n-1 and n through, and not "
    "n+1" *
    doctest::test_suite("reference")) {
  for (const Row& row : rows) {
    CAPTURE(row.limit);
    const auto is_let_through = [&row](u64 amount) {
      Scenario scenario(compose({"\"", row.limit, "\": ", Digits(row.n),
                                 row.settings.empty() ? "" : ", ", row.settings}));
      return row.is_let_through(scenario, amount);
    };
    CHECK(is_let_through(row.n - 1));
    CHECK(is_let_through(row.n) == !row.is_time);
    CHECK_FALSE(is_let_through(row.n + 1));
  }
}

/// Limits that a hub only passes on, to its host (host.test.ts) or the engine (tests/engine), and a
/// time that is no sharp limit (conversations/engine.txt).
const std::vector<Bytes> without_row = {
    "engine_shards",      "engine_timeout_ms", "engine_lease_ms", "engine_message_bytes_max",
    "engine_changes_max", "resync_spread_ms",  "engine_keep_ms",  "engine_recovery_bytes_max",
    "unsent_bytes_max"};

TEST_CASE("every limit has a row in this table, or needs none") {
  for (const LimitEntry& limit : limits) {
    CAPTURE(limit.name);
    u32 count = 0;
    for (const Row& row : rows) count += row.limit == limit.name;
    for (const Bytes name : without_row) count += name == limit.name;
    CHECK(count == 1);
  }
  CHECK(rows.size() + without_row.size() == std::size(limits));
}

TEST_CASE(
    "the defaults allow what they promise: 10,000 resources in one listen, then one update for "
    "each") {
  Scenario s;
  s.open(1);
  const std::string names = numbered(10'000, "\"resource/", "\"");
  const std::string listening = s.frame(1, listen(names));
  CHECK(listening.find("send 1 { \"type\": \"listening\"") != std::string::npos);
  s.post("/resources", compose({"{\"resources\":[", names, "]}"}));
  CHECK(s.actions().size() == 10'001);
  CHECK(has_error(s.frame(1, listen("\"one more\""))));
  const std::string unlistening =
      s.frame(1, compose({"{\"type\":\"unlisten\",\"resources\":[", names, "]}"}));
  CHECK(unlistening.starts_with("attach 1 { \"tokens\": [], \"resources\": [] }\n"));
  CHECK(s.post("/resources", compose({"{\"resources\":[", names, "]}"})) == "respond 200 OK\n");
}

}  // namespace
