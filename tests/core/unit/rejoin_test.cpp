// After a failure of the engine: more topics than a hub joins again at once, which conversations
// cannot show.
#include <doctest/doctest.h>

#include "scenario.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

TEST_CASE("a frame brings its topic forward, and those who listened before get what they missed") {
  constexpr u32 count = 2049;  // the first 2,048 are joined again at once
  Scenario s(R"("engine_shards": 1, "node": "00000000000000aa")");
  const auto answer = [&](u32 call, std::vector<Bytes> values) {
    return s.handle(input::EngineAnswer{call, 0, values});
  };
  std::string names;
  for (u32 i = 0; i < count; ++i) names += compose({i == 0 ? "\"r" : ", \"r", Digits(i), "\""});

  s.handle(input::EngineUp{0, 0});
  answer(1, {"e1", "run-1", "5000"});
  s.open(1);
  s.frame(1, compose({"{ \"type\": \"listen\", \"resources\": [", names, "] }"}));
  answer(2, {});
  s.open(2);

  s.handle(input::EngineDown{0});
  s.handle(input::EngineUp{0, 0});
  answer(3, {"e1", "run-1", "5009"});
  const std::string last = R"({ "type": "listen", "resources": ["r2048"] })";
  CHECK(s.frame(2, last) == "join 8 resource:r2048\n");
  CHECK(answer(8, {}).starts_with("run 9 changed e1 5000 resource:r2048\n"));
  CHECK(answer(9, {"5009", "0"})
            .starts_with("send 1 2 { \"type\": \"updated\", \"resource\": \"r2048\" }\n"));
}

}  // namespace
