// The scripts that run in Redis, built in from worker/engine/*.lua.
#pragma once

#include <span>
#include <string_view>

namespace sidekick::host {

struct EngineScript {
  std::string_view name;
  std::string_view source;
};

std::span<const EngineScript> engine_scripts();

}  // namespace sidekick::host
