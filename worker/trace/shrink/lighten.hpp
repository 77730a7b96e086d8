// Input lines with smaller messages.
#pragma once

#include <string>

namespace sidekick::trace {

/// The line with half or one of its resources, or with null for data or context: one variant per
/// call, and empty when there are no more.
std::string lighter(const std::string& line, unsigned way);

}  // namespace sidekick::trace
