// What a hub is told at birth. Read from one JSON or ION text, the same on every host.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick {

struct Config {
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason) u32 name = default_value;
#include "sidekick/limits.def"

  /// Bearer secrets the app server may present; several while one is being rotated out. Never
  /// leaves the hub.
  std::vector<std::string> secrets;

  /// Seeds the hash tables, since resource names come from strangers: a host that serves any must
  /// give a random one. 16 hex digits in the text. Part of a trace.
  u64 hash_seed = 0;
};

/// One row of limits.def, for those who walk them all.
struct LimitEntry {
  Bytes name;
  u32 Config::* value;
  u32 lowest;
  u32 highest;
};

inline constexpr LimitEntry limits[] = {
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason) \
  {#name, &Config::name, lowest, highest},
#include "sidekick/limits.def"
};

/// Reads an object with the names of limits.def (integers), `secrets` (1 to 16 non-empty strings)
/// and `hash_seed` (16 hex digits); only `secrets` is required. Returns an empty text, or what is
/// wrong and where; `config` is then unchanged.
std::string decode_config(Bytes text, Config& config);

}  // namespace sidekick
