// The known differences between this hub and the one that made a recording of format 1. Any other
// difference is reported.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::trace {

enum class ChangeSince1 : u8 {
  none,        ///< not a known change
  error_text,  ///< the same error, worded otherwise
  lines_hash,  ///< the hash of the recorded lines, which covers the texts; that of the state agrees
};

/// Compares a line of the recording with the line of the hub, both of an action or a hash.
ChangeSince1 change_since_1(Bytes recorded, Bytes now);

}  // namespace sidekick::trace
