// From a story that fails to a short one that fails by the same checker: delta debugging over its
// ops.
#pragma once

#include "story.hpp"

namespace sidekick::sim {

/// The story must have failed. `told`: how many trials it took.
std::vector<Op> shrink(const Story& story, bool is_canary, u32& told);

}  // namespace sidekick::sim
