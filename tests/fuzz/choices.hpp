// What a fuzz target makes of its bytes.
#pragma once

#include "sidekick/base.hpp"

namespace fuzz {

using sidekick::Bytes;
using sidekick::u32;
using sidekick::u8;

/// The remaining bytes of the fuzzer; zeros after the end.
class Choices {
 public:
  explicit Choices(Bytes bytes) : bytes_(bytes) {}

  bool is_empty() const { return bytes_.empty(); }

  u8 byte() {
    if (bytes_.empty()) return 0;
    const u8 value = static_cast<u8>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }

  u32 below(u32 bound) { return byte() % bound; }

  Bytes raw() {
    const u32 size = byte();
    const Bytes taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }

  /// Mostly one of the first two, so that steps interact; odd names come after them.
  template <std::size_t count>
  Bytes one_of(const Bytes (&alphabet)[count]) {
    const u8 choice = byte();
    return alphabet[choice < 208 ? choice % 2 : choice % count];
  }

 private:
  Bytes bytes_;
};

}  // namespace fuzz
