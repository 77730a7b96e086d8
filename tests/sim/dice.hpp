// The only source of randomness in the simulator (splitmix64): the same on every machine, from one
// seed. Never uses a clock or the system.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::sim {

class Dice {
 public:
  explicit Dice(u64 seed) : state_(seed) {}

  u64 next() {
    u64 z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }

  /// 0 to bound - 1; 0 if bound is 0.
  u32 below(u32 bound) { return static_cast<u32>((next() >> 32) * bound >> 32); }
  u32 between(u32 lowest, u32 highest) { return lowest + below(highest - lowest + 1); }
  bool chance(u32 permille) { return below(1000) < permille; }

  template <class T, std::size_t count>
  T one_of(const T (&list)[count]) {
    return list[below(count)];
  }

 private:
  u64 state_;
};

}  // namespace sidekick::sim
