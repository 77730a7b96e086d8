// The core traps where its own state is wrong (and may crash where it is mutated): that must be a
// finding with a seed, not the end of the simulator. What the call held is lost: the caller must
// not touch the hub again, nor destroy it.
#pragma once

#include "memory.hpp"

namespace sidekick::sim {

/// False where the call trapped or crashed.
bool survives(void (*call)(void* what), void* what);

template <class Call>
bool survives(Call&& call) {
  return survives([](void* what) { (*static_cast<std::remove_reference_t<Call>*>(what))(); },
                  &call);
}

}  // namespace sidekick::sim
