// A second hub beside the first, which shares an engine: `Shard` machines that answer at once. Owns
// both, and what the engine was told. Decides nothing about what is right: shared_checks.cpp does.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dice.hpp"
#include "sidekick/hub.hpp"
#include "sidekick/shard.hpp"
#include "swarm.hpp"

namespace sidekick::sim {

class SharedHub {
 public:
  /// What a peer sees, in its order: a client, a request, or (0) the app server.
  struct Seen {
    std::map<u32, std::vector<std::string>> clients, requests;
    std::vector<std::string> forwards;
    std::vector<ForwardId> ids, cancelled;
    void add(const Action& action);
  };

  /// A change as the engine has stamped it.
  struct Change {
    u64 at = 0;
    u32 serial = 0;  ///< counts all changes
    std::string text;
  };

  SharedHub(const Swarm& swarm, Millis now, std::string* trace);

  /// Gives the input, and answers until nothing is under way.
  void take(Millis now, const Input& input);
  Seen seen;  ///< of the latest input

  const std::vector<Change>& changes(const std::string& topic) { return changes_[topic]; }
  std::size_t shard_count() const { return shards_.size(); }
  u32 change_count() const { return change_count_; }
  /// Of the message of the latest input; null: there was none.
  const std::string* last_topic() const { return last_topic_.empty() ? nullptr : &last_topic_; }
  /// Tokens that a hub has given back: it has forgotten what was sent with them.
  bool is_forgotten(Bytes token) const { return forgotten_.contains(std::string(token)); }
  /// The stamp at the registration of a token that was claimed.
  u64 registered_at(Bytes token) { return registered_[std::string(token)]; }
  std::vector<engine::Shard::Hold> holds() const;
  std::vector<std::string> joined() const;
  bool lingers() const { return config_.topic_linger_ms != 0; }
  u64 inputs() const { return inputs_; }

 private:
  struct Answer {
    u32 call = 0;
    engine::Shard::Answer answer;
  };
  struct Message {
    u32 shard = 0;
    engine::Shard::Publication publication;
  };

  engine::Shard::Answer run(u32 shard, Bytes script, std::span<const Bytes> args);
  void give(const Input& input);
  void perform(const Action& action);
  void note(Bytes script, std::span<const Bytes> args, const engine::Shard::Answer& answer);
  void collect();
  void beat();
  void settle();

  Config config_;
  std::string* trace_;
  Dice dice_;
  std::unique_ptr<Hub> hub_;
  Actions actions_;
  std::vector<engine::Shard> shards_;
  std::vector<Millis> ahead_ms_;  ///< of each shard's clock
  std::deque<Answer> answers_;
  std::deque<Message> messages_;
  std::map<std::string, std::vector<Change>> changes_;  ///< by topic
  std::map<std::string, bool> forgotten_;
  std::map<std::string, u64> registered_;
  u32 change_count_ = 0;
  std::string last_topic_;
  Millis now_ = 0;
  Millis clock_ = 0;  ///< the engine's
  Millis beat_at_ = 0;
  u64 inputs_ = 0;
};

/// Makes it a world in which a hub with an engine does the same as one without; says why where it
/// takes something away.
void share(Swarm& swarm, u32 engine_shards);

}  // namespace sidekick::sim
