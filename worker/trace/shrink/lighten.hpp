// Input lines with less in their message.
#pragma once

#include <string>

namespace sidekick::trace {

/// The line with half or one of its resources, or with null for data or context: one way after the
/// other, and empty where there is no way left.
std::string lighter(const std::string& line, unsigned way);

}  // namespace sidekick::trace
