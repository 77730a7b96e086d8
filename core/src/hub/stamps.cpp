#include "hub/stamps.hpp"

#include <algorithm>

namespace sidekick {

namespace {

constexpr Bytes digits = "0123456789abcdefghijklmnopqrstuvwxyz";

/// At most `digits_max` digits without a leading zero. Returns false otherwise.
bool read_number(Bytes text, u32 base, u32 digits_max, u64& out) {
  out = 0;
  for (const char c : text) {
    const std::size_t digit = digits.substr(0, base).find(c);
    if (digit == Bytes::npos) return false;
    out = out * base + digit;
  }
  return !text.empty() && text.size() <= digits_max && (text.size() == 1 || text[0] != '0');
}

}  // namespace

void append_epoch(TextArena& out, const Epoch& epoch) {
  char text[12];
  u32 at = sizeof text;
  u64 hub = epoch.hub;
  do {
    text[--at] = digits[hub % digits.size()];
    hub /= digits.size();
  } while (hub != 0);
  out.write({Bytes(text + at, sizeof text - at)});
  if (epoch.ahead_ms != 0) out.write({".", Digits(epoch.ahead_ms)});
}

bool decode_epoch(Bytes text, Epoch& out) {
  const std::size_t dot = text.find('.');
  out.ahead_ms = 0;
  return read_number(text.substr(0, dot), static_cast<u32>(digits.size()), 11, out.hub) &&
         (dot == Bytes::npos || read_number(text.substr(dot + 1), 10, 16, out.ahead_ms));
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
