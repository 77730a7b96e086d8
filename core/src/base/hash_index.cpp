#include "base/hash_index.hpp"

#include <cstring>

namespace sidekick {

namespace {

constexpr u64 rotate_left(u64 value, int bits) { return value << bits | value >> (64 - bits); }

struct SipState {
  u64 a, b, c, d;

  void round() {
    a += b;
    b = rotate_left(b, 13) ^ a;
    a = rotate_left(a, 32);
    c += d;
    d = rotate_left(d, 16) ^ c;
    a += d;
    d = rotate_left(d, 21) ^ a;
    c += b;
    b = rotate_left(b, 17) ^ c;
    c = rotate_left(c, 32);
  }

  void absorb(u64 word) {
    d ^= word;
    round();
    a ^= word;
  }
};

}  // namespace

u64 hash_bytes(u64 seed, Bytes bytes) {
  // The 128-bit key is the seed and its complement: a host supplies 64 secret bits only.
  SipState state{seed ^ 0x736f6d6570736575, ~seed ^ 0x646f72616e646f6d, seed ^ 0x6c7967656e657261,
                 ~seed ^ 0x7465646279746573};
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    u64 word = 0;
    std::memcpy(&word, at, 8);  // all supported targets are little-endian
    state.absorb(word);
  }
  u64 last = static_cast<u64>(bytes.size()) << 56;
  for (std::size_t i = 0; i < left; ++i)
    last |= static_cast<u64>(static_cast<u8>(at[i])) << (8 * i);
  state.absorb(last);
  state.c ^= 0xFF;
  state.round();
  state.round();
  state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

void HashIndex::add(u64 hash, u32 id) {
  // Load factor of at most three quarters.
  if (std::size_t{4} * (count_ + 1) > entries_.size() * 3)
    resize(entries_.empty() ? 16 : static_cast<u32>(entries_.size()) * 2);
  place(Entry{static_cast<u32>(hash >> 32), static_cast<u32>(hash), id});
  ++count_;
}

void HashIndex::remove(u64 hash, u32 id) {
  u32 hole = home(hash);
  while (entries_[hole].id != id) {
    SIDEKICK_CHECK(entries_[hole].id != none);
    hole = next(hole);
  }
  // Close the gap: move back entries that a lookup would no longer reach.
  for (u32 at = next(hole); entries_[at].id != none; at = next(at)) {
    const u32 wanted = entries_[at].low & mask();
    const bool is_reachable = ((at - wanted) & mask()) < ((at - hole) & mask());
    if (is_reachable) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = Entry{};
  --count_;
  if (entries_.size() > 64 && std::size_t{8} * count_ < entries_.size())
    resize(static_cast<u32>(entries_.size()) / 2);
}

void HashIndex::place(const Entry& entry) {
  u32 at = entry.low & mask();
  while (entries_[at].id != none) at = next(at);
  entries_[at] = entry;
}

void HashIndex::resize(u32 size) {
  std::vector<Entry> old(size);
  old.swap(entries_);
  for (const Entry& entry : old) {
    if (entry.id != none) place(entry);
  }
}

}  // namespace sidekick
