// The state machine: one input in, all its consequences out. No clock, no randomness, no I/O, no
// threads, no globals.
#pragma once

#include <memory>

#include "sidekick/border.hpp"
#include "sidekick/config.hpp"

namespace sidekick {

class Hub {
 public:
  /// `config` must come from decode_config, or keep to the bounds of limits.def and hold a secret.
  explicit Hub(Config config);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  /// Applies one input and replaces `out` with every consequence, in the order in which they must
  /// be performed. now: milliseconds since the Unix epoch; a value earlier than the latest seen
  /// counts as the latest. Views in `out` are valid until the next call on this hub. Never fails: a
  /// peer's mistake becomes actions. Traps only on what the host must never do: open a client
  /// handle that is open.
  void handle(Millis now, const Input& input, Actions& out);

  /// How many bytes of a request's body are worth reading; 0 when the answer does not depend on the
  /// body. Changes nothing.
  u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) const;

  /// Whether the value of an Authorization header carries one of the secrets. Takes the same time
  /// for every wrong one of a length.
  bool is_authorized(Bytes authorization) const;

  const Config& config() const;

  /// A number for all that the hub knows and decides by: the same for hubs that know the same, on
  /// every host and build, with every hash seed, and after a restore. Left out is what differs
  /// without harm, or follows from the rest: the clock and the timer, the clients' frame credits,
  /// how long their stored records are, and the next forward's id; and of a message on its way what
  /// only the host has. Of a waiting message its size and first KiB count. O(state): see
  /// state_size.
  u64 state_hash() const;

  /// About how many things there are to hash: tokens, clients, subscriptions, messages.
  u64 state_size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sidekick
