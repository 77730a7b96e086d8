// The hub's time: the system time when this process started, advanced by the clock of the boot. A
// jump of the system clock must not expire tokens or delay timers; a machine's sleep is time that
// passes.
#pragma once

#include <ctime>

#include "sidekick/base.hpp"

namespace sidekick::host {

inline Millis read_clock(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<Millis>(time.tv_sec) * 1000 + static_cast<Millis>(time.tv_nsec) / 1'000'000;
}

/// The system time. Somebody may set it at any moment.
inline Millis wall_ms() { return read_clock(CLOCK_REALTIME); }

/// Since the machine's start, including sleep.
inline Millis boot_ms() { return read_clock(CLOCK_BOOTTIME); }

/// Milliseconds since the Unix epoch; never decreases.
inline Millis now_ms() {
  static const Millis boot_start = boot_ms();
  static const Millis wall_start = wall_ms();
  return wall_start + (boot_ms() - boot_start);
}

}  // namespace sidekick::host
