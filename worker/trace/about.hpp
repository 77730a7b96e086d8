// The subjects of a trace's lines: clients, tokens, topics. Follows a trace line by line; holds
// only live tokens, forwards and calls to the engine. Judges nothing: a line that cannot be parsed
// has no subjects.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "sidekick/border.hpp"
#include "sidekick/engine.hpp"

namespace sidekick::trace {

/// Topics by the hub's names: channel:chat/roomId:7, resource:todo/1.
struct About {
  std::vector<u32> clients;
  std::vector<std::string> tokens;
  std::vector<std::string> topics;

  void add(const About& other);
  bool has_client(u32 client) const;
  bool has_token(Bytes token) const;
  /// name: the hub's name without the part up to the colon, or the name of a channel alone (then
  /// with any params).
  bool has_topic(Bytes name) const;
  /// Whether both share a client, a token or a topic.
  bool meets(const About& other) const;
};

class Follower {
 public:
  /// A new hub: nothing is alive.
  void open();
  const About& follow(Millis now, const Input& input);
  /// One of the actions of the input before. `action` is its line.
  const About& follow(const nlohmann::json& action);

 private:
  struct Forward {
    About about;
    Millis timeout_at = 0;
  };

  struct Call {
    About about;
    u32 shard = 0;
  };

  void read_text(Bytes text, About& about) const;
  void add_engine_text(EngineKind kind, Bytes text, About& about) const;
  void end_calls(u32 shard);
  void add_token(Bytes key, About& about) const;

  std::map<std::string, std::string, std::less<>> topic_of_token_;
  std::map<u64, Forward> forwards_;  // in flight
  std::map<u32, Call> calls_;        // under way
  Millis now_ = 0;
  About input_;
  About action_;
};

}  // namespace sidekick::trace
