// The outcomes of the messages with an id that one session has sent with one token. So a client may
// repeat a message whose answer it has not seen, and the app server gets it once.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick {

class Sends {
 public:
  /// How the forward of a message ended: the input of the host, with its body if that is short.
  struct Ending {
    u64 id = 0;
    u32 status = 0;
    u32 outcome = 0;
    std::string body;
  };

  /// serial: names this list among all of a hub.
  explicit Sends(u64 serial) : serial_(serial) {}

  u64 serial() const { return serial_; }
  u64 last_id() const { return last_id_; }
  /// With an engine: the session may have sent newer messages at another hub.
  bool is_outdated() const { return is_outdated_; }
  void outdate() { is_outdated_ = true; }

  /// A message is on its way. Its id is above last_id().
  void begin(u64 id) {
    last_id_ = id;
    is_outdated_ = false;
    under_way_.push_back(id);
  }

  void end(Ending ending) {
    std::erase(under_way_, ending.id);
    if (endings_.size() == endings_max) endings_.erase(endings_.begin());
    endings_.push_back(std::move(ending));
  }

  bool is_under_way(u64 id) const {
    return std::find(under_way_.begin(), under_way_.end(), id) != under_way_.end();
  }

  /// Returns nullptr if it is under way, unknown, or not among the latest endings.
  const Ending* find(u64 id) const {
    for (const Ending& ending : endings_) {
      if (ending.id == id) return &ending;
    }
    return nullptr;
  }

  /// Of all endings without their bodies, in the module; half as much more natively.
  static constexpr u64 own_bytes = 1024;
  u64 bytes() const {
    u64 sum = own_bytes;
    for (const Ending& ending : endings_) sum += ending.body.size();
    return sum;
  }

 private:
  static constexpr std::size_t endings_max = 32;

  u64 serial_;
  u64 last_id_ = 0;
  bool is_outdated_ = false;
  std::vector<u64> under_way_;
  std::vector<Ending> endings_;  // oldest first
};

}  // namespace sidekick
