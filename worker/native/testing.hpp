// Test hooks between the host and its surroundings. They do nothing in the command that ships. The
// one built for tests (SIDEKICK_TESTING) has hubs that trap on demand, answer late or cannot be
// created, a ping interval and a number of connections to the app server from the environment, an
// optional lack of memory for connections, and names that resolve slowly, are too long, or have two
// addresses.
#pragma once

#include "runtime/runtime.hpp"

namespace sidekick::host {

#ifdef SIDEKICK_TESTING
CreateRuntime for_testing(CreateRuntime create);
unsigned ping_seconds_for_testing(unsigned otherwise);
unsigned server_links_max_for_testing(unsigned otherwise);
std::function<void()> accepted_for_testing();
#else
inline CreateRuntime for_testing(CreateRuntime create) { return create; }
inline unsigned ping_seconds_for_testing(unsigned otherwise) { return otherwise; }
inline unsigned server_links_max_for_testing(unsigned otherwise) { return otherwise; }
inline std::function<void()> accepted_for_testing() {
  return [] {};
}
#endif

}  // namespace sidekick::host
