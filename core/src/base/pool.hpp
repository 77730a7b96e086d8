// Slots with stable u32 ids and a free list. The slot freed last is reused first, so ids are the
// same on every host.
#pragma once

#include <memory>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick {

inline constexpr u32 none = 0xFFFFFFFF;

/// Releases memory after a burst: the limits do not count unused slots, so these must not hold
/// memory.
inline void shrink_if_sparse(std::vector<u32>& ids) {
  constexpr std::size_t kept_min = 16;
  if (ids.capacity() > kept_min && ids.size() * 4 < ids.capacity()) ids.shrink_to_fit();
}

template <class T>
class Pool {
 public:
  u32 add() {
    ++size_;
    if (!free_.empty()) {
      const u32 id = free_.back();
      free_.pop_back();
      return id;
    }
    slots_.emplace_back();
    return static_cast<u32>(slots_.size() - 1);
  }

  /// Frees the slot; its content is destroyed at once.
  void remove(u32 id) {
    std::destroy_at(&slots_[id]);
    std::construct_at(&slots_[id]);
    free_.push_back(id);
    --size_;
  }

  T& operator[](u32 id) { return slots_[id]; }
  const T& operator[](u32 id) const { return slots_[id]; }
  u32 size() const { return size_; }

  /// All slots; unused ones are in their default-constructed state.
  const std::vector<T>& slots() const { return slots_; }

 private:
  std::vector<T> slots_;
  std::vector<u32> free_;
  u32 size_ = 0;
};

}  // namespace sidekick
