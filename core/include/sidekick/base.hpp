// The vocabulary every file of the core shares: fixed-width integers, time, and the check that
// traps. Owns nothing. Must never include anything that does I/O.
#pragma once

#include <cstdint>
#include <string_view>

namespace sidekick {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Milliseconds since the Unix epoch, or a span of milliseconds where the name ends in `_ms`.
/// Always supplied by the host.
using Millis = u64;

/// Handles. The host chooses `ClientId` and `RequestId` (unique while open), the core chooses
/// `ForwardId`.
using ClientId = u32;
using RequestId = u32;
using ForwardId = u32;

/// Bytes that belong to somebody else. Every signature that takes or returns one says for how long
/// they live.
using Bytes = std::string_view;

inline constexpr std::string_view core_version = "0.1.0";

/// Stops the program at once. Only for states that no peer can cause: a wrong state must never be
/// acted on.
[[noreturn]] inline void trap() { __builtin_trap(); }

}  // namespace sidekick

/// A check that stays on in release builds. A failure is a bug of ours (or of the host), never a
/// peer's mistake.
#define SIDEKICK_CHECK(condition)    \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      ::sidekick::trap();            \
    }                                \
  } while (false)
