// Counts the bytes held by the code under test: the simulator's operator new counts allocations
// while an Account is open.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::sim {

class Account {
 public:
  explicit Account(long long& held_bytes);
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  /// Closes an open account whose own end was never reached.
  static void close();
};

}  // namespace sidekick::sim
