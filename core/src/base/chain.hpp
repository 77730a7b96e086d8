// An order over slots of a Pool, oldest first. Each slot has a member `link`.
#pragma once

#include "base/pool.hpp"

namespace sidekick {

struct Link {
  u32 older = none;
  u32 newer = none;
};

template <class T>
class Chain {
 public:
  bool empty() const { return oldest_ == none; }
  u32 oldest() const { return oldest_; }

  void append(Pool<T>& pool, u32 id) {
    pool[id].link = {newest_, none};
    (newest_ == none ? oldest_ : pool[newest_].link.newer) = id;
    newest_ = id;
  }

  void remove(Pool<T>& pool, u32 id) {
    const Link link = pool[id].link;
    (link.older == none ? oldest_ : pool[link.older].link.newer) = link.newer;
    (link.newer == none ? newest_ : pool[link.newer].link.older) = link.older;
  }

 private:
  u32 oldest_ = none;
  u32 newest_ = none;
};

}  // namespace sidekick
