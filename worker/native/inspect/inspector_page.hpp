// The page of the inspector (worker/inspector/), which the build puts into this program.
#pragma once

#include <string>

namespace sidekick::host {

/// The page that reads `live` beside itself. module: the bytes that Verify replays with; empty: it
/// replays nothing.
std::string live_page(const std::string& module);

}  // namespace sidekick::host
