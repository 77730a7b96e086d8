// The heart of shrinking, for each simulator.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sidekick::sim {

/// Tries to leave out parts of `ops`: the later ones first, halves first, then smaller ones.
/// `attempt(candidate)` replaces `ops` if the shorter list fails as well.
/// Returns whether `ops` is shorter now.
template <class Op, class Attempt>
bool drop_chunks(const std::vector<Op>& ops, Attempt&& attempt) {
  const std::size_t before = ops.size();
  for (std::size_t chunk = std::max<std::size_t>(ops.size() / 2, 1); chunk > 0; chunk /= 2) {
    for (std::size_t end = ops.size(); end > 0;) {
      const std::size_t start = end > chunk ? end - chunk : 0;
      std::vector<Op> candidate = ops;
      candidate.erase(candidate.begin() + static_cast<std::ptrdiff_t>(start),
                      candidate.begin() + static_cast<std::ptrdiff_t>(end));
      attempt(std::move(candidate));
      end = std::min(start, ops.size());
    }
  }
  return ops.size() < before;
}

}  // namespace sidekick::sim
