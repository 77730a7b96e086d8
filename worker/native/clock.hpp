// The hub's time: the system time when this process started, advanced by the monotonic clock. A
// jump of the system clock must not expire tokens or delay timers.
#pragma once

#include <chrono>

#include "sidekick/base.hpp"

namespace sidekick::host {

/// Milliseconds since the Unix epoch; never decreases.
inline Millis now_ms() {
  using namespace std::chrono;
  static const auto steady_start = steady_clock::now();
  static const auto wall_start =
      duration_cast<milliseconds>(system_clock::now().time_since_epoch());
  return static_cast<Millis>(
      (wall_start + duration_cast<milliseconds>(steady_clock::now() - steady_start)).count());
}

}  // namespace sidekick::host
