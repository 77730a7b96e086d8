// A hub restored from its rows at any point of a conversation continues like one that was never
// stopped. By design it may differ in three ways: queued forwards are lost (so the app server
// answers all of them first), forward ids start over, and the timer is set again. SEED=<number>
// repeats one conversation.
#include <doctest/doctest.h>

#include "random_talk.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

constexpr u32 steps = 40;

constexpr Bytes settings[] = {
    R"("token_ttl_ms": 2000, "token_resume_ms": 1000)",
    R"("token_ttl_ms": 2000, "token_resume_ms": 0)",
    R"("token_resume_ms": 1, "forward_concurrent": 1, "forwards_waiting_max": 2)",
    R"("clients_max": 2, "tokens_max": 3, "topics_per_client_max": 3, "tokens_per_client_max": 2)",
};

/// The conversation of this seed up to `cut`, with all forwards answered.
void talk(TalkHost& host, Random& random, u32 cut) {
  for (u32 i = 0; i < cut; ++i) take(host, random_step(random, open_clients(host)));
  drain(host);
}

void restore(TalkHost& to, const TalkHost& from, ClientId lost) {
  to.scenario.set_now(from.scenario.now());
  for (const auto& [key, row] : from.scenario.token_rows())
    CHECK(to.scenario.restore_token(key, row) == "");
  for (const auto& [client, record] : from.scenario.client_rows()) {
    if (client != lost) CHECK(to.scenario.restore_client(client, record) == "");
  }
}

void check_same_rows(const TalkHost& one, const TalkHost& other) {
  CHECK(one.scenario.token_rows() == other.scenario.token_rows());
  CHECK(one.scenario.client_rows() == other.scenario.client_rows());
}

void check_same_future(TalkHost& one, TalkHost& other, Random& random) {
  for (u32 i = 0; i < steps; ++i) {
    const TalkStep step = random_step(random, open_clients(one));
    CAPTURE(i);
    REQUIRE(take(one, step) == take(other, step));
  }
  check_same_rows(one, other);
  CHECK(one.scenario.hub().state_hash() == other.scenario.hub().state_hash());
}

TEST_CASE("a hub restored at any point of a conversation continues identically") {
  const auto [first, last] = seed_range(40);
  for (u64 seed = first; seed <= last; ++seed) {
    const Bytes with = settings[seed % std::size(settings)];
    for (u32 cut = 0; cut <= steps; ++cut) {
      CAPTURE(seed);
      CAPTURE(cut);
      Random random{seed};
      TalkHost straight(with);
      talk(straight, random, cut);
      TalkHost restored(with);
      restore(restored, straight, 0);
      check_same_rows(straight, restored);
      check_same_future(straight, restored, random);
    }
  }
}

TEST_CASE("a socket lost in a restart counts as closed at the first input after it") {
  const auto [first, last] = seed_range(40);
  for (u64 seed = first; seed <= last; ++seed) {
    const Bytes with = settings[seed % std::size(settings)];
    for (u32 cut = 0; cut <= steps; cut += 3) {
      CAPTURE(seed);
      CAPTURE(cut);
      Random random{seed};
      TalkHost straight(with);
      talk(straight, random, cut);
      const std::set<ClientId> open = open_clients(straight);
      if (open.empty()) continue;
      const ClientId lost = *std::next(open.begin(), random.below(static_cast<u32>(open.size())));
      TalkHost restored(with);
      restore(restored, straight, lost);
      const TalkStep first_input{TalkStep::Kind::wait, 0, {}, {}, 0};
      take(straight, {TalkStep::Kind::close, lost, {}, {}, 0});
      take(restored, first_input);
      take(straight, first_input);
      check_same_rows(straight, restored);
      check_same_future(straight, restored, random);
    }
  }
}

TEST_CASE("the check itself: notices a hub restored without a necessary row") {
  TalkHost straight(settings[0]);
  TalkHost restored(settings[0]);
  straight.scenario.open(1);
  straight.scenario.frame(1, R"({"type":"listen","resources":["r1"]})");
  restored.scenario.restore_client(1, "");
  const TalkStep publish{TalkStep::Kind::post, 0, "/resources", R"({"resources":["r1"]})", 0};
  CHECK(take(straight, publish) != take(restored, publish));
}

}  // namespace
