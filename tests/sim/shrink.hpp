// Reduces a failing story to a short one that fails with the same checker: delta debugging over its
// ops.
#pragma once

#include "story.hpp"

namespace sidekick::sim {

/// The story must have failed. `told`: the number of trials.
std::vector<Op> shrink(const Story& story, bool is_canary, u32& told);

}  // namespace sidekick::sim
