// The configuration: every setting, every error.
#include <doctest/doctest.h>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using test::repeat;

/// The result of decode_config for these settings; `secrets` is added.
std::string decode(Bytes settings) {
  Config config;
  return decode_config(
      compose({"{\"secrets\":[\"s\"]", settings.empty() ? "" : ",", settings, "}"}), config);
}

TEST_CASE("a configuration needs secrets only; everything else has a default") {
  Config config;
  CHECK(decode_config(R"({"secrets":["a","b"]})", config).empty());
  CHECK(config.secrets == std::vector<std::string>{"a", "b"});
  CHECK(config.hash_seed == 0);
  for (const LimitEntry& limit : limits) CHECK(config.*limit.value == Config().*limit.value);
}

TEST_CASE("accepts every limit from its lowest to its highest value, and nothing beyond") {
  for (const LimitEntry& limit : limits) {
    CAPTURE(limit.name);
    const auto set = [&](u64 value) {
      // The rules between two settings have their own tests below.
      const Bytes other =
          limit.name == "http_body_bytes_max"       ? ",\"client_buffer_bytes_max\":268435456"
          : limit.name == "client_buffer_bytes_max" ? R"(,"http_body_bytes_max":64,)"
                                                      R"("unsent_bytes_max":1073741824)"
          : limit.name == "unsent_bytes_max"        ? R"(,"http_body_bytes_max":64,)"
                                                      R"("client_buffer_bytes_max":1024)"
          : limit.name == "engine_shards"           ? ",\"node\":\"0123456789abcdef\""
                                                    : "";
      Config config;
      const std::string text =
          compose({"{\"secrets\":[\"s\"],\"", limit.name, "\":", Digits(value), other, "}"});
      const std::string wrong = decode_config(text, config);
      if (wrong.empty()) CHECK(config.*limit.value == value);
      return wrong;
    };
    const std::string refusal =
        compose({"invalid configuration: \"", limit.name, "\" must be an integer from ",
                 Digits(limit.lowest), " to ", Digits(limit.highest), ", found "});
    CHECK(set(limit.lowest) == "");
    CHECK(set(u64{limit.lowest} + 1) == "");
    CHECK(set(u64{limit.highest} - 1) == "");
    CHECK(set(limit.highest) == "");
    CHECK(set(u64{limit.highest} + 1) == refusal + std::string(Digits(u64{limit.highest} + 1)));
    if (limit.lowest > 0)
      CHECK(set(limit.lowest - 1) == refusal + std::string(Digits(limit.lowest - 1)));
  }
}

TEST_CASE("rejects a limit that is not an integer and names what was found") {
  const std::string refusal =
      "invalid configuration: \"params_max\" must be an integer from 1 to 1024, found ";
  CHECK(decode(R"("params_max":"5")") == refusal + "a string");
  CHECK(decode(R"("params_max":null)") == refusal + "null");
  CHECK(decode(R"("params_max":[5])") == refusal + "an array");
  CHECK(decode(R"("params_max":5.0)") == refusal + "5.0");
  CHECK(decode(R"("params_max":5e0)") == refusal + "5e0");
  CHECK(decode(R"("params_max":-5)") == refusal + "-5");
  CHECK(decode(R"("params_max":NaN)") == refusal + "NaN");
  CHECK(decode(R"("params_max":4294967301)") == refusal + "4294967301");
  CHECK(decode(R"("params_max":18446744073709551621)") == refusal + "18446744073709551621");
  CHECK(decode("\"params_max\":" + repeat("9", 100)) == refusal + repeat("9", 64));
}

TEST_CASE("hash_seed is 16 hex digits") {
  const std::string refusal =
      "invalid configuration: \"hash_seed\" must be a string of 16 lower-case hex digits";
  Config config;
  CHECK(decode_config(R"({"secrets":["s"],"hash_seed":"fedcba9876543210"})", config).empty());
  CHECK(config.hash_seed == 0xfedcba9876543210);
  CHECK(decode(R"("hash_seed":"0123456789abcde")") == refusal);
  CHECK(decode(R"("hash_seed":"0123456789abcdef0")") == refusal);
  CHECK(decode(R"("hash_seed":"0123456789ABCDEF")") == refusal);
  CHECK(decode(R"("hash_seed":"0123456789abcdeg")") == refusal);
  CHECK(decode(R"("hash_seed":1234567890123456)") == refusal);
}

TEST_CASE("an engine needs the name of this node: 16 hex digits") {
  const std::string refusal =
      "invalid configuration: \"node\" must be a string of 16 lower-case hex digits";
  Config config;
  CHECK(decode_config(R"({"secrets":["s"],"engine_shards":1,"node":"fedcba9876543210"})", config)
            .empty());
  CHECK(config.node == "fedcba9876543210");
  CHECK(decode(R"("engine_shards":1)") ==
        "invalid configuration: engine_shards needs \"node\": 16 random hex digits, drawn for "
        "each process");
  CHECK(decode(R"("node":"fedcba9876543210")") == "");
  CHECK(decode(R"("node":"fedcba987654321")") == refusal);
  CHECK(decode(R"("node":"FEDCBA9876543210")") == refusal);
  CHECK(decode(R"("node":1234567890123456)") == refusal);
  CHECK(decode(R"("node":"fedcba9876543210","node":"fedcba9876543210")") ==
        "invalid configuration: duplicate setting \"node\"");
}

TEST_CASE("engine_epoch accepts only text that clients can get in quotes") {
  const std::string refusal =
      "invalid configuration: \"engine_epoch\" must be a string of 1 to 64 printable ASCII "
      "characters other than spaces, quotes and backslashes";
  Config config;
  CHECK(decode_config(R"({"secrets":["s"],"engine_epoch":"v1/16"})", config).empty());
  CHECK(config.engine_epoch == "v1/16");
  CHECK_FALSE(config.has_heartbeats());
  CHECK(Config().has_heartbeats());
  CHECK(decode(R"("engine_epoch":"")") == refusal);
  CHECK(decode(R"("engine_epoch":"a b")") == refusal);
  CHECK(decode(R"("engine_epoch":"a\"b")") == refusal);
  CHECK(decode(R"("engine_epoch":1)") == refusal);
  CHECK(decode(R"("engine_epoch":"v1/1","engine_epoch":"v1/1")") ==
        "invalid configuration: duplicate setting \"engine_epoch\"");
}

TEST_CASE("secrets are one to sixteen non-empty strings") {
  const std::string refusal =
      "invalid configuration: \"secrets\" must be an array of 1 to 16 non-empty strings";
  const auto decode_secrets = [](Bytes secrets) {
    Config config;
    return decode_config(compose({"{\"secrets\":", secrets, "}"}), config);
  };
  CHECK(decode_secrets("[" + repeat("\"s\",", 15) + "\"s\"]") == "");
  CHECK(decode_secrets("[" + repeat("\"s\",", 16) + "\"s\"]") == refusal);
  CHECK(decode_secrets("[]") == refusal);
  CHECK(decode_secrets("\"s\"") == refusal);
  CHECK(decode_secrets("[\"\"]") == refusal);
  CHECK(decode_secrets("[\"s\",5]") == refusal);
  const std::string never =
      "invalid configuration: a secret must be printable ASCII without spaces, which every HTTP "
      "library sends alike (is there a trailing newline?)";
  CHECK(decode_secrets("[\"s\\n\"]") == never);
  CHECK(decode_secrets("[\"s\",\" s\"]") == never);
  CHECK(decode_secrets("[\"s \"]") == never);
  CHECK(decode_secrets("[\"s s\"]") == never);
  CHECK(decode_secrets("[\"schl\u00fcssel\"]") == never);
  CHECK(decode_secrets(R"(["s\u00e9"])") == never);
  CHECK(decode_secrets("[\"s\x7f\"]") == never);
  CHECK(decode_secrets("[\"!~\"]") == "");
  CHECK(decode_secrets("{}") == refusal);
  Config config;
  CHECK(
      decode_config("{}", config) ==
      "invalid configuration: missing \"secrets\"; expected an array of 1 to 16 non-empty strings");
  CHECK(decode_config(R"({"secrets":["\u0073\u0065"]})", config) == "");
  CHECK(config.secrets == std::vector<std::string>{"se"});
}

TEST_CASE("rejects unknown and duplicate settings by name") {
  CHECK(decode(R"("parms_max":5)") ==
        "invalid configuration: unknown setting \"parms_max\"; see \"Limits\" in docs/protocol.md");
  CHECK(decode(R"("params_max":5,"params_max":5)") ==
        "invalid configuration: duplicate setting \"params_max\"");
  CHECK(decode(R"("secrets":["s"])") == "invalid configuration: duplicate setting \"secrets\"");
  CHECK(decode(R"("hash_seed":"0123456789abcdef","hash_seed":"0123456789abcdef")") ==
        "invalid configuration: duplicate setting \"hash_seed\"");
}

TEST_CASE("a client's buffer must hold the largest message") {
  CHECK(decode(R"("client_buffer_bytes_max":4000,"http_body_bytes_max":2000)") == "");
  CHECK(decode(R"("client_buffer_bytes_max":4001,"http_body_bytes_max":2000)") == "");
  CHECK(decode(R"("client_buffer_bytes_max":3999,"http_body_bytes_max":2000)") ==
        "invalid configuration: client_buffer_bytes_max must be at least twice "
        "http_body_bytes_max, to hold the largest message");
}

TEST_CASE("the buffers of all clients must hold that of one") {
  const std::string buffer = R"("client_buffer_bytes_max":4000,"http_body_bytes_max":64,)";
  CHECK(decode(buffer + R"("unsent_bytes_max":4000)") == "");
  CHECK(decode(buffer + R"("unsent_bytes_max":4001)") == "");
  CHECK(decode(buffer + R"("unsent_bytes_max":3999)") ==
        "invalid configuration: unsent_bytes_max must be at least client_buffer_bytes_max, to hold "
        "the unsent messages of one client");
}

TEST_CASE("without unsent_bytes_max, a larger buffer of one client raises it") {
  Config config;
  CHECK(decode_config(R"({"secrets":["s"],"client_buffer_bytes_max":1000000000})", config).empty());
  CHECK(config.unsent_bytes_max == 1000000000);
}

TEST_CASE("rejects a text that is not a configuration and names the byte offset") {
  const std::string invalid = "invalid configuration: not valid JSON or ION: ";
  Config config;
  CHECK(decode_config("", config) == invalid + "expected a value, found end of text at byte 0");
  CHECK(decode_config("[]", config) == "invalid configuration: expected an object, found an array");
  CHECK(decode_config("{\"secrets\":[\"s\"]", config) ==
        invalid + "expected ',' or '}', found end of text at byte 16");
  CHECK(decode_config("{\"secrets\":[\"s\"]} x", config) ==
        invalid + "expected end of text, found 'x' at byte 18");
  CHECK(decode_config("{\"secrets\":[\"s\",]}", config) != "");
  CHECK(decode_config("{\"params_max\":[[[[[[[[1]]]]]]]]}", config) ==
        invalid + "expected at most 8 levels of nesting, found '[' at byte 21");
}

TEST_CASE("a rejected configuration leaves the previous one unchanged") {
  Config config;
  config.params_max = 7;
  config.secrets = {"kept"};
  CHECK(decode_config(R"({"secrets":["s"],"params_max":9,"depth_max":0})", config) != "");
  CHECK(config.params_max == 7);
  CHECK(config.secrets == std::vector<std::string>{"kept"});
}

}  // namespace
