// What tests put between the host and its surroundings. In the command that is shipped it does
// nothing; the one built for tests (SIDEKICK_TESTING) has hubs that trap on demand, pings as often
// as the environment says, has no memory for a connection when that is asked for, and knows names
// that are slow to look up, too long, or have two addresses.
#pragma once

#include "runtime/engine.hpp"

namespace sidekick::host {

#ifdef SIDEKICK_TESTING
CreateEngine for_testing(CreateEngine create);
unsigned ping_seconds_for_testing(unsigned otherwise);
std::function<void()> accepted_for_testing();
#else
inline CreateEngine for_testing(CreateEngine create) { return create; }
inline unsigned ping_seconds_for_testing(unsigned otherwise) { return otherwise; }
inline std::function<void()> accepted_for_testing() {
  return [] {};
}
#endif

}  // namespace sidekick::host
