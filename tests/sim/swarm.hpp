// The properties of one seed's world: its size, its faults and their rates, its tiny limits. Drawn
// for every seed, so that worlds in which something is missing or in excess reach rare states
// (swarm testing).
#pragma once

#include <string>

#include "dice.hpp"
#include "op.hpp"
#include "sidekick/config.hpp"

namespace sidekick::sim {

struct Swarm {
  u64 seed = 0;
  /// A restart may change the limits: then more may be stored than the limits allow.
  Config configs[2];

  u16 clients = 4, tokens = 8, scopes = 4, resources = 6, sessions = 1;
  u32 steps = 5000;

  u32 op_weight[10] = {};    ///< indexed by OpKind
  u32 frame_weight[6] = {};  ///< indexed by Verb
  u32 http_weight[4] = {};   ///< connection, resources, message, health
  u32 reply_weight[static_cast<u32>(Reply::count)] = {};
  u32 restart_weight[4] = {};  ///< indexed by Restart

  // Per thousand.
  u32 flaw = 20, gate = 20, attack = 100, cut = 0, fail = 0, knock_flaw = 20, burst = 50,
      time_back = 5, timer_late = 200, jump = 20, odd_timer = 20;
  u32 since = 0;       ///< a client of the extension names a position
  u32 again = 0;       ///< it repeats a message
  u32 greeting = 0;    ///< a client says hello before everything else
  u32 clock_step = 0;  ///< the clock steps back, and stays there
  u32 drain = 0;       ///< a host that is not draining begins to
  u32 burst_max = 8;
  u32 span_max_ms = 5;
  u32 jump_max_ms = 1000;
  u16 payload_max = 64;
  bool reuses_handles = true;
  bool has_odd_names = true;
  u8 allowed_origins[2] = {};  ///< by config: a bit for each entry of `allowed_origins`; 0: any
  u64 epoch = 1;               ///< of the first hub
  u32 engine_shards = 0;       ///< 0: no second hub, with an engine
  u32 deep_every = 256;        ///< steps between deep checks
  bool is_long = false;        ///< several lives of one hub, each ending empty: does memory grow?

  std::string describe() const;
};

inline constexpr Bytes allowed_origins[] = {"https://app.example.com", "https://*.example.org",
                                            "null"};
inline constexpr Bytes secrets[] = {"the-secret", "the-other-secret"};

/// Far from both ends, so that no id comes up that the first hub may have used.
u64 draw_epoch(Dice& dice);

Swarm draw_swarm(u64 seed, u32 steps);

}  // namespace sidekick::sim
