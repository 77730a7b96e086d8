// The time the hub is given: the system's when this process started, and from then on counted by a
// clock that nobody sets. A system clock that jumps must not end tokens, nor hold up timers.
#pragma once

#include <chrono>

#include "sidekick/base.hpp"

namespace sidekick::host {

/// Milliseconds since the Unix epoch; never goes back.
inline Millis now_ms() {
  using namespace std::chrono;
  static const auto steady_start = steady_clock::now();
  static const auto wall_start =
      duration_cast<milliseconds>(system_clock::now().time_since_epoch());
  return static_cast<Millis>(
      (wall_start + duration_cast<milliseconds>(steady_clock::now() - steady_start)).count());
}

}  // namespace sidekick::host
