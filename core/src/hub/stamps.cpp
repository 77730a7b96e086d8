#include "hub/stamps.hpp"

#include <algorithm>

#include "base/numbers.hpp"

namespace sidekick {

namespace {

constexpr u32 base = 36;
constexpr u32 digits_max = 11;  // of number_max

}  // namespace

void append_epoch(TextArena& out, const Epoch& epoch) {
  char text[digits_max];
  u32 at = digits_max;
  u64 hub = epoch.hub;
  do {
    const u32 digit = static_cast<u32>(hub % base);
    text[--at] = static_cast<char>(digit < 10 ? '0' + digit : 'a' + digit - 10);
    hub /= base;
  } while (hub != 0);
  out.write({Bytes(text + at, sizeof text - at)});
  if (epoch.ahead_ms != 0) out.write({".", Digits(epoch.ahead_ms)});
}

bool decode_epoch(Bytes text, Epoch& out) {
  const std::size_t dot = text.find('.');
  out.ahead_ms = 0;
  return decode_number(text.substr(0, dot), base, digits_max, out.hub) &&
         (dot == Bytes::npos ||
          (decode_number(text.substr(dot + 1), 10, 16, out.ahead_ms) && out.ahead_ms != 0));
}

void Stamps::pass(Millis now) {
  now = std::min(now, clock_max) + epoch_.ahead_ms;
  if (now + step_ms_max >= clock_) {
    clock_ = std::max(clock_, now);
    return;
  }
  epoch_.ahead_ms += clock_ - now;
  is_recorded_ = false;
}

void Stamps::restore(const Epoch& epoch) {
  const bool is_later =
      epoch.ahead_ms != epoch_.ahead_ms ? epoch.ahead_ms > epoch_.ahead_ms : epoch.hub > epoch_.hub;
  is_recorded_ = is_recorded_ && (first_ == 0 || epoch == epoch_);
  if (first_ == 0 || is_later) {
    clock_ += epoch.ahead_ms - epoch_.ahead_ms;
    epoch_ = epoch;
  }
  // The hub before may have stamped in this millisecond.
  first_ = last_ = (clock_ + 1) * 1000;
}

}  // namespace sidekick
