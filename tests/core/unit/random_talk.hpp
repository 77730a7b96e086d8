// Seeded random conversations over few clients, tokens, channels and resources, so that everything
// meets everything.
#pragma once

#include <deque>

#include "scenario.hpp"

namespace sidekick::test {

/// A scenario whose app server answers, oldest forward first.
struct TalkHost {
  explicit TalkHost(Bytes settings) : scenario(settings) {}

  Scenario scenario;
  std::deque<ForwardId> in_flight;
};

struct TalkStep {
  enum class Kind : u8 { open, close, frame, post, answer, wait } kind;
  ClientId client = 0;
  std::string path;
  std::string text;
  u32 number = 0;  ///< a status, or milliseconds
};

/// What may be said next. `open`: the clients that are open.
TalkStep random_step(Random& random, const std::set<ClientId>& open);

/// Takes the step and returns its actions without what a restored hub may do otherwise: numbers of
/// forwards, and the timer.
std::string take(TalkHost& host, const TalkStep& step);

/// Has the app server answer all that waits.
void drain(TalkHost& host);

std::set<ClientId> open_clients(const TalkHost& host);

}  // namespace sidekick::test
