// The module's heap. Blocks are adjacent; a freed block merges with free neighbors at once. Free
// blocks are listed by size, eight lists per doubling, so both operations take constant time.
// Reason for our own: the toolchains' allocators are several times larger and differ from each
// other, and a hub should use the same memory on every host. Uses offsets into a Memory instead of
// addresses, so that tests can run it over their own memory.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick {

/// Memory has static members: `char* at(u32)`, `u32 begin()` (of the heap), `u32 end()` (a multiple
/// of 16), and `bool grow(u32 bytes)`, which moves end() by at least that much or does nothing.
/// Unwritten memory is zero.
template <class Memory>
class Heap {
 public:
  /// Allocates `bytes`, 16-aligned; nullptr if memory is exhausted.
  void* allocate(u32 bytes) {
    if (bytes > bytes_max) return nullptr;
    const u32 size = (bytes + sizeof(u32) + 15) & ~15u;  // never 0: includes the block's own word
    u32 block = find(size);
    if (block == 0) block = extend(size);
    if (block == 0) return nullptr;
    unlink(block);
    const u32 rest = size_of(block) - size;
    at(block).word = size;  // in use; so is its left neighbor, or the two would have been merged
    if (rest == 0) {
      at(block + size).word &= ~left_is_free;
    } else {
      list(block + size, rest);
    }
    return Memory::at(block + header_bytes);
  }

  /// Traps on a double free.
  void release(void* memory) {
    const u32 block = static_cast<u32>(static_cast<char*>(memory) - Memory::at(0)) - header_bytes;
    SIDEKICK_CHECK((at(block).word & is_free) == 0);
    join(block);
  }

 private:
  // Overlays what objects were, so its stores must not be moved past theirs.
  struct __attribute__((may_alias)) Block {
    u32 left_size;  // the left neighbor's last word: its size while it is free, else its content
    u32 word;       // size and flags
    u32 next, previous;  // in the list of its size while it is free, else content
  };
  static constexpr u32 header_bytes = 8;
  static constexpr u32 bytes_max = 1u << 30;
  static constexpr u32 is_free = 1;
  static constexpr u32 left_is_free = 2;
  static constexpr u32 list_count = 256;

  static Block& at(u32 block) { return *reinterpret_cast<Block*>(Memory::at(block)); }
  static u32 size_of(u32 block) { return at(block).word & ~15u; }

  /// Up to 8 units of 16 bytes each size has its own list; beyond that a list covers an eighth of a
  /// doubling.
  static u32 list_of(u32 size) {
    const u32 units = size / 16;
    if (units < 8) return units;
    const u32 shift = 28 - static_cast<u32>(__builtin_clz(units));
    return shift * 8 + (units >> shift);
  }

  /// The first of its own list if that is large enough, else the first of the next list with
  /// blocks.
  u32 find(u32 size) const {
    const u32 own = list_of(size);
    if (heads_[own] != 0 && size_of(heads_[own]) >= size) return heads_[own];
    u64 wanted = ~u64{1} << own % 64;
    for (u32 word = own / 64; word < list_count / 64; ++word, wanted = ~u64{0}) {
      const u64 listed = listed_[word] & wanted;
      if (listed != 0) return heads_[word * 64 + static_cast<u32>(__builtin_ctzll(listed))];
    }
    return 0;
  }

  /// Frees a block and merges it with free neighbors; returns the start of the merged block.
  u32 join(u32 block) {
    u32 size = size_of(block);
    if ((at(block).word & left_is_free) != 0) {
      size += at(block).left_size;
      block -= at(block).left_size;
      unlink(block);
    }
    if ((at(block + size).word & is_free) != 0) {
      unlink(block + size);
      size += size_of(block + size);
    }
    list(block, size);
    return block;
  }

  void list(u32 block, u32 size) {
    const u32 list = list_of(size);
    const u32 next = heads_[list];
    at(block).word = size | is_free;
    at(block).next = next;
    at(block).previous = 0;
    if (next != 0) at(next).previous = block;
    heads_[list] = block;
    listed_[list / 64] |= u64{1} << list % 64;
    at(block + size).left_size = size;
    at(block + size).word |= left_is_free;
  }

  void unlink(u32 block) {
    const u32 next = at(block).next;
    const u32 previous = at(block).previous;
    if (next != 0) at(next).previous = previous;
    if (previous != 0) {
      at(previous).next = next;
      return;
    }
    const u32 list = list_of(size_of(block));
    heads_[list] = next;
    if (next == 0) listed_[list / 64] &= ~(u64{1} << list % 64);
  }

  /// Adds a free block of at least `size` at the end. A block of size zero that is always in use
  /// stops join() there.
  u32 extend(u32 size) {
    if (last_ == 0) last_ = ((Memory::begin() + 15) & ~15u) + header_bytes;
    const u32 end = last_ + size + header_bytes;
    if (end > Memory::end() && !Memory::grow(end - Memory::end())) return 0;
    const u32 block = last_;
    last_ = Memory::end() - header_bytes;
    at(block).word |= last_ - block;
    at(last_).word = 0;
    return join(block);
  }

  u32 heads_[list_count] = {};
  u64 listed_[list_count / 64] = {};  // one bit per non-empty list
  u32 last_ = 0;
};

}  // namespace sidekick
