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
/// `ForwardId`.
using ClientId = u32;
using RequestId = u32;
using ForwardId = u32;

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
