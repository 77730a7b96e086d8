// Several hubs, one `Shard` and the messages in flight between them, on virtual time. Does what
// border.def and docs/architecture.md demand of a host: answers and messages arrive in the order of
// the engine, each in a queue of its own; a lost connection loses both; a heartbeat each second
// finds dead connections. Checks nothing.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../sim/dice.hpp"
#include "sidekick/hub.hpp"
#include "sidekick/shard.hpp"

namespace sidekick::cluster {

inline constexpr u32 nobody = 0xFFFFFFFF;

/// An input that owns its bytes.
struct Recorded {
  Millis now = 0;
  Input input;
  std::deque<std::string> texts;
  std::vector<Bytes> views;
  u64 digest = 0;  ///< of all actions up to and with those of this input

  Recorded(Millis at, const Input& from);
};

struct Command {
  u32 call = 0;  ///< 0: nobody waits for an answer
  enum class Kind : u8 { run, join, leave } kind = Kind::run;
  std::string script;
  std::vector<std::string> args;
};

struct Answer {
  u32 call = 0;
  u64 run = 0;  ///< the number of this call among those that the engine has executed
  Command command;
  engine::Shard::Answer answer;
};

struct Node {
  u32 index = 0;
  Config config;
  std::unique_ptr<Hub> hub;
  Millis timer_at = 0;
  bool is_up = false;
  Millis up_at = 0;  ///< the next attempt to connect

  std::deque<Command> commands;
  std::deque<Answer> answers;
  std::deque<engine::Shard::Publication> messages;
  bool are_commands_frozen = false, are_answers_frozen = false, are_messages_frozen = false;

  Millis beat_at = 0;
  u64 beat_sent = 0;
  Millis frozen_at = 0;
  u32 calls = 0;                  ///< under way
  std::set<u32> calls_for_peers;  ///< of these, for frames and requests
  Millis trouble_at = 0;          ///< the latest moment at which the link was not well
  Millis trouble_began_at = 0;    ///< of this trouble, and of those shortly before

  std::deque<Recorded> recording;
  u64 digest = 0;
};

class Network {
 public:
  Network(u64 seed, u32 node_count);

  static constexpr u32 history_min = 4;  ///< of the nodes' history_messages_max

  /// Told of each action that a peer sees.
  std::function<void(Node&, const Action&)> on_action;
  /// Told of each script that the engine has run.
  std::function<void(const Command&, const engine::Shard::Answer&)> on_run;

  /// Told of each answer before a node gets it.
  std::function<void(Bytes node, const Answer&)> on_answer;

  /// Told of each node that has lost a token because the session moved to another node.
  std::function<void(Bytes node, Bytes token)> on_taken;

  void give(Node& node, const Input& input);
  void note_trouble(Node& node);
  /// When the present trouble of a node began, or now.
  Millis unsettled_since(const Node& node) const;
  bool is_verbose = false;
  /// Delivers one command, answer or message; returns false if none can be delivered.
  bool move_one();
  void pass_time(u32 ms);

  void lose_link(Node& node);
  void crash(Node& node);
  void heal();
  void restart_engine();                          ///< with all data
  void restart_engine(const engine::Shard* old);  ///< null: without data

  /// Another client claims the token. So its node learns of a hold that it does not know.
  void ask_for(Bytes token);
  bool is_late(Bytes token) const { return late_tokens_.contains(token); }

  /// Empty, or how the replay of a node's recording differs.
  std::string check_recordings();

  sim::Dice dice;
  Millis now = 1'700'000'000'000;
  std::vector<Node> nodes;
  engine::Shard shard;
  u64 inputs = 0;
  u64 runs = 0;    ///< that the engine has executed
  u64 digest = 0;  ///< of all actions
  bool is_full = false;

 private:
  void start(Node& node);
  void connect(Node& node);
  void cut_all();
  void beat(Node& node);
  void execute(Node* node, const Command& command);
  void collect();

  u64 names_ = 0;
  u32 servers_ = 1;
  std::deque<Command> late_;  ///< of lost connections: they may still be executed
  std::set<std::string, std::less<>> late_tokens_;  ///< given to a node that does not know it
  Actions actions_;
};

}  // namespace sidekick::cluster
