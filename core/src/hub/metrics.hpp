// The counters of a hub: a fixed slot for each series of metrics.def, so that counting an event is
// one increment. They are a function of the inputs, and no part of the state: a restart resets
// them.
#pragma once

#include "sidekick/border.hpp"

namespace sidekick {

enum class Metric : u32 {
#define SIDEKICK_VALUE(slot) slot,
#define SIDEKICK_SERIES(slot, label, value) slot,
#define SIDEKICK_BUCKET(slot, seconds) slot,
#define SIDEKICK_SUM(slot) slot,
#define SIDEKICK_COUNT(slot) slot,
#include "sidekick/metrics.def"
  end
};

enum class Purpose : u8;

/// Whether the app server has taken the message.
bool is_success(const input::ForwardDone& in);

class Metrics {
 public:
  u64& operator[](Metric metric) { return slots_[static_cast<u32>(metric)]; }
  /// One of several series that follow each other, by its place.
  u64& at(Metric first, u32 place) { return slots_[static_cast<u32>(first) + place]; }
  u64 value(u32 slot) const { return slots_[slot]; }

  /// What a peer was told.
  void count_error(ErrorCode code) {
    if (code != ErrorCode::ok) ++at(Metric::error_ok, static_cast<u32>(code));
  }
  void count_response(const action::Respond& it) {
    if (it.status != 200) return count_refusal(it);
    ++(*this)[Metric::responses_200];  // it tells no error
  }
  void count_call(Purpose purpose) { ++at(Metric::engine_calls_sync, static_cast<u32>(purpose)); }
  void count_forward(const input::ForwardDone& in, u64 took_ms);

 private:
  void count_refusal(const action::Respond& it);

  u64 slots_[static_cast<u32>(Metric::end)]{};
};

}  // namespace sidekick
