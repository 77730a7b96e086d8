#include "base/deadlines.hpp"

namespace sidekick {

u32 Deadlines::add(const Entry& entry) {
  const u32 node = nodes_.add();
  nodes_[node].entry = entry;
  heap_.push_back(node);
  put(static_cast<u32>(heap_.size() - 1), node);
  sift_up(static_cast<u32>(heap_.size() - 1));
  return node;
}

void Deadlines::remove(u32 node) {
  const u32 position = nodes_[node].position;
  SIDEKICK_CHECK(position < heap_.size() && heap_[position] == node);
  const u32 last = heap_.back();
  heap_.pop_back();
  if (last != node) {
    put(position, last);
    sift_up(position);
    sift_down(nodes_[last].position);
  }
  nodes_.remove(node);
}

bool Deadlines::is_before(u32 left, u32 right) const {
  const Entry& a = nodes_[left].entry;
  const Entry& b = nodes_[right].entry;
  if (a.at != b.at) return a.at < b.at;
  if (a.due != b.due) return a.due < b.due;
  return a.rank < b.rank;
}

void Deadlines::put(u32 position, u32 node) {
  heap_[position] = node;
  nodes_[node].position = position;
}

void Deadlines::sift_up(u32 position) {
  const u32 node = heap_[position];
  while (position > 0) {
    const u32 parent = (position - 1) / 2;
    if (!is_before(node, heap_[parent])) break;
    put(position, heap_[parent]);
    position = parent;
  }
  put(position, node);
}

void Deadlines::sift_down(u32 position) {
  const u32 node = heap_[position];
  const u32 count = static_cast<u32>(heap_.size());
  for (;;) {
    u32 child = position * 2 + 1;
    if (child >= count) break;
    if (child + 1 < count && is_before(heap_[child + 1], heap_[child])) ++child;
    if (!is_before(heap_[child], node)) break;
    put(position, heap_[child]);
    position = child;
  }
  put(position, node);
}

}  // namespace sidekick
