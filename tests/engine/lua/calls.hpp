// Random calls of the engine's scripts. The arguments have few values, so that calls affect each
// other. Remembers values of answers, for arguments that refer to them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "dice.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/shard.hpp"

namespace sidekick::lua {

using engine::Shard;
using sim::Dice;
using Texts = std::vector<std::string>;

inline const Texts nodes{"A", "B", "C"};
/// Some have bytes that need care.
inline const Texts topics{"x", "y", "z", std::string("\0 \xff\n", 4)};

class Calls {
 public:
  explicit Calls(Dice& dice);

  struct Call {
    Bytes script;
    Texts args;
  };

  Call next(u64 now_us);
  /// The first call of a node: it knows its latest position, and may have seen changes since.
  Call sync(const std::string& node);
  void note(const Call& call, const Shard::Answer& answer);
  void note_server(const std::string& server) { servers_seen_.push_back(server); }

  const std::string& one_of(const Texts& list);

 private:
  const std::string& few_of(const Texts& list);
  Texts arguments(const EngineScript& script);
  std::string argument(const EngineField& field);
  std::string stamp();
  std::string look_back();

  struct Known {
    std::string epoch, server, top = "0";
  };

  Dice& dice_;
  // A swarm: no seed has everything, so that each has much of something.
  const bool is_lasting_;
  const u32 names_count_;
  std::vector<u32> deck_;  ///< of scripts: the more cards, the more often
  u64 now_us_ = 0;
  u64 epochs_ = 0;
  Texts epochs_seen_{""};
  Texts servers_seen_{"",   "s1",  "s2",  "s3",  "s4",  "s5",  "s6",  "s7",  "s8",
                      "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "another"};
  Texts stamps_seen_{"0"};
  std::map<std::string, Known> known_;  ///< by nodes, of their latest sync
};

}  // namespace sidekick::lua
