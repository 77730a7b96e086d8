// The configuration of a hub, read from one JSON or ION text that is the same on every host.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick {

struct Config {
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason) u32 name = default_value;
#include "sidekick/limits.def"

  /// Bearer secrets the app server may present; more than one during a rotation. They never leave
  /// the hub.
  std::vector<std::string> secrets;

  /// Also opens GET /metrics, and nothing else; empty: none.
  std::string metrics_secret;

  /// Origins whose pages may open a socket; empty: all. `https://app.example.com`, or
  /// `https://*.example.com` for every subdomain, or `null`.
  std::vector<std::string> allowed_origins;

  /// Seeds the hash tables. Strangers choose resource names, so a host that serves them must pass a
  /// random seed. 16 hex digits in the text. Part of a trace.
  u64 hash_seed = 0;

  /// Names this Sidekick among those that share an engine: 16 hex digits, drawn by the host for
  /// each process. Required with engine_shards, and part of a trace.
  std::string node;

  /// Names the history of an engine that never loses it and sends no heartbeats: shards on
  /// Cloudflare. The host then answers pings itself and may sleep. After a wake, a hub knows only
  /// this and its joins. Empty: the engine itself tells its epoch. Part of a trace.
  std::string engine_epoch;

  bool has_heartbeats() const { return engine_epoch.empty(); }
};

/// One row of limits.def, for code that iterates over all limits.
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

/// Reads an object with the names of limits.def (integers), `secrets` (1 to 16 non-empty strings),
/// `metrics_secret` (a string),
/// `allowed_origins` (1 to 256 strings), `hash_seed` and `node` (16 hex digits),
/// `engine_epoch` (a string). Only `secrets` is required. Returns an empty text on success.
/// Otherwise returns what is wrong and where, and leaves `config` unchanged.
std::string decode_config(Bytes text, Config& config);

inline constexpr u32 epoch_bytes_max = 64;
/// Whether the text can be an engine's epoch: clients get it verbatim, in quotes.
bool is_epoch_name(Bytes text);

}  // namespace sidekick
