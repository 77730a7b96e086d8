// Definitions shared by every file of the core: fixed-width integers, time, and the check that
// traps. Owns nothing. Must never include anything that does I/O.
#pragma once

#include <cstdint>
#include <string_view>

namespace sidekick {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Milliseconds since the Unix epoch, or a duration if the name ends in `_ms`. Always supplied by
/// the host.
using Millis = u64;

/// Handles. The host chooses `ClientId` and `RequestId` (unique while open); the core chooses
/// `ForwardId`: numbers from the epoch of the hub upwards, so that two hubs have the same ones only
/// if their random epochs lie as close as the number of their forwards.
using ClientId = u32;
using RequestId = u32;
using ForwardId = u64;

/// Numbers on the border stay below 2^53, so that a JavaScript number holds them.
inline constexpr u64 number_max = (u64{1} << 53) - 1;

/// Bytes owned by someone else. Every signature that takes or returns them states their lifetime.
using Bytes = std::string_view;

inline constexpr std::string_view core_version = "0.1.0";

/// Stops the program at once. Only for states that no peer can cause: the core must never act on a
/// corrupt state.
[[noreturn]] inline void trap() { __builtin_trap(); }

}  // namespace sidekick

/// A check that stays on in release builds. A failure is a bug of ours or of the host, never a
/// peer's mistake.
#define SIDEKICK_CHECK(condition)    \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      ::sidekick::trap();            \
    }                                \
  } while (false)
