// Tokens of the time before there was an engine: more than a hub hands over at once, which
// conversations cannot show.
#include <doctest/doctest.h>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

TEST_CASE("a token that is wanted is handed over before all others, and before it is asked for") {
  constexpr u32 count = 66;  // 64 are handed over at once, the last ones first
  Scenario s(R"("engine_shards": 1, "node": "00000000000000aa", "engine_epoch": "v1")");
  const std::string record = R"({ "channel": "chat", "params": {} })";
  std::vector<std::pair<std::string, TokenRow>> rows;
  for (u32 i = 0; i < count; ++i)
    rows.push_back({compose({"t", i < 10 ? "0" : "", Digits(i)}), {0, start_ms + 60'000, record}});
  s.restart({}, rows);
  s.handle(input::EngineUp{0, 1});
  s.open(1);
  CHECK(s.frame(1, R"({ "type": "subscribe", "token": "t00" })")
            .starts_with("run 65 register t00 " + record));
  CHECK(s.handle(input::EngineAnswer{65, 0, std::vector<Bytes>{"ok"}}).find("claim t00 ") !=
        std::string::npos);

  const std::string registered =
      s.post("/connection", R"({ "token": "t01", "channel": "other", "params": {} })");
  const std::size_t former = registered.find("register t01 " + record);
  const std::size_t latter = registered.find(R"(register t01 { "channel": "other")");
  REQUIRE(latter != std::string::npos);
  CHECK(former < latter);
}

}  // namespace
