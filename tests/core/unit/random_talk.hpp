// Seeded random conversations over few clients, tokens, channels and resources, so that they
// interact often.
#pragma once

#include <deque>

#include "scenario.hpp"

namespace sidekick::test {

/// A scenario whose app server answers the oldest forward first.
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

/// A random next step. `open`: the clients that are open.
TalkStep random_step(Random& random, const std::set<ClientId>& open);

/// Performs the step and returns its actions, except for what a restored hub may do differently:
/// ids of forwards, and the timer.
std::string take(TalkHost& host, const TalkStep& step);

/// Answers all pending forwards.
void drain(TalkHost& host);

std::set<ClientId> open_clients(const TalkHost& host);

}  // namespace sidekick::test
