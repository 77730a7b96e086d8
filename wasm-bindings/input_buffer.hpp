// The memory that a host writes its next call into.
#pragma once
#include <memory>

#include "sidekick/base.hpp"

namespace sidekick {

class InputBuffer {
 public:
  /// Room for `size` bytes, aligned to 8, until the next call. The former content is lost.
  u8* reserve(u32 size) {
    // An instance that received one large input does not keep its memory forever.
    constexpr u32 kept_words_max = (1u << 20) / sizeof(u64);
    constexpr u32 words_min = 512;
    const u32 words = size / sizeof(u64) + 1;
    if (words > words_ || (words_ > kept_words_max && words <= kept_words_max)) {
      memory_.reset();  // first: its content is not needed
      words_ = words < words_min ? words_min : words;
      memory_.reset(new u64[words_]);
    }
    return reinterpret_cast<u8*>(memory_.get());
  }

  /// The first `size` bytes, which must have been reserved.
  Bytes bytes(u32 size) const {
    SIDEKICK_CHECK(size <= u64{words_} * sizeof(u64));
    return Bytes(reinterpret_cast<const char*>(memory_.get()), size);
  }

 private:
  std::unique_ptr<u64[]> memory_;
  u32 words_ = 0;
};

}  // namespace sidekick
