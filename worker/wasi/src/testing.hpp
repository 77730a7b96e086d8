// What tests put between the host and its surroundings. In the command that is shipped it does nothing; the one built for tests
// (SIDEKICK_TESTING) has hubs that trap on demand, and pings as often as the environment says.
#pragma once

#include "engine.hpp"

namespace sidekick::host {

#ifdef SIDEKICK_TESTING
CreateEngine for_testing(CreateEngine create);
unsigned ping_seconds_for_testing(unsigned otherwise);
#else
inline CreateEngine for_testing(CreateEngine create) { return create; }
inline unsigned ping_seconds_for_testing(unsigned otherwise) { return otherwise; }
#endif

}  // namespace sidekick::host
