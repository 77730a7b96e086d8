// How many bytes the code under test holds: the simulator's own operator new counts what is taken
// and given back while an Account is open.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::sim {

class Account {
 public:
  explicit Account(long long& held_bytes);
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  /// Closes whichever is open, where its own end was never reached.
  static void close();
};

}  // namespace sidekick::sim
