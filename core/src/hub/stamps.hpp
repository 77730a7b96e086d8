// The hub's own time for what it publishes: docs/protocol.md, "Positions". Stamps only ascend. When
// the clock steps back, they go on from where they were, ahead of the clock from then on, in a new
// epoch: how much time has passed meanwhile is not known.
#pragma once

#include "sidekick/text.hpp"

namespace sidekick {

/// Names one run of stamps: the random number of the hub, and how far they are ahead of the clock,
/// which grows with each step back.
struct Epoch {
  u64 hub = 0;
  Millis ahead_ms = 0;

  bool operator==(const Epoch&) const = default;
};

/// Writes `k3f9a2`, or `k3f9a2.2001` after a step.
void append_epoch(TextArena& out, const Epoch& epoch);

/// Writes `, "at": 1790000000000000`.
inline void append_at(TextArena& out, u64 at) { out.write({", \"at\": ", Digits(at)}); }

/// Returns false if append_epoch has not written it.
bool decode_epoch(Bytes text, Epoch& out);

class Stamps {
 public:
  void begin(u64 hub) { epoch_.hub = hub; }

  /// The time of each input. If the clock has stepped back by more than a second, a new epoch
  /// begins. Smaller steps hold the stamps up; clients allow for that.
  void pass(Millis now);

  /// Continues the epoch of a record. If the records name several, the latest counts.
  void restore(const Epoch& epoch);

  /// Whether all records name this epoch. Otherwise the hub has to write them again.
  bool is_recorded() const { return is_recorded_; }
  void set_recorded() { is_recorded_ = true; }

  u64 take() { return last_ = next(); }

  /// The next stamp minus 1. A client that has everything up to a position misses later stamps.
  u64 position() const { return next() - 1; }

  /// Whether this hub can have told a client this position, and not one before it.
  bool is_known(const Epoch& epoch, u64 position) const {
    return epoch == epoch_ && position >= first_ && position <= next() + step_ms_max * 1000;
  }

  /// A position that is older than this time.
  u64 position_before(Millis ms) const { return clock_ > ms ? (clock_ - ms) * 1000 - 1 : 0; }

  const Epoch& epoch() const { return epoch_; }

 private:
  static constexpr Millis step_ms_max = 1000;
  static constexpr Millis clock_max = number_max / 1000;  // the year 2255

  u64 next() const { return last_ + 1 > clock_ * 1000 ? last_ + 1 : clock_ * 1000; }

  Epoch epoch_;
  bool is_recorded_ = true;
  Millis clock_ = 0;  // the latest time, and ahead_ms
  u64 first_ = 0;     // the position after the restore; 0: no epoch was restored
  u64 last_ = 0;
};

}  // namespace sidekick
