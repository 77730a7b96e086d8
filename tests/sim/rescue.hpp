// The core traps if its own state is wrong (and may crash when mutated). That must be a finding
// with a seed, not the end of the simulator. Memory held by the call is lost: the caller must
// neither use the hub again nor destroy it.
#pragma once

#include "memory.hpp"

namespace sidekick::sim {

/// Returns false if the call trapped or crashed.
bool survives(void (*call)(void* what), void* what);

template <class Call>
bool survives(Call&& call) {
  return survives([](void* what) { (*static_cast<std::remove_reference_t<Call>*>(what))(); },
                  &call);
}

}  // namespace sidekick::sim
