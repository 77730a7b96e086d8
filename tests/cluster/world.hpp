// One seed's world: clients that move between nodes, an app server, faults, and the checkers.
#pragma once

#include <algorithm>
#include <optional>
#include <set>

#include "network.hpp"

namespace sidekick::cluster {

#define SIDEKICK_CLUSTER_CHECKERS(X)                                                            \
  X(one_holder, "no token is used by two sessions at once, while their nodes reach the engine") \
  X(one_order, "the messages of a channel come in the order of the engine, none twice")         \
  X(confirmed, "a change after `listening` or `subscribed` reaches the client")                 \
  X(resynced, "only resources that have changed are told after a failure")                      \
  X(recovered, "what a client has missed is complete, or it is told that it is not")            \
  X(lane_order, "messages of one token reach the app server in the order sent, once")           \
  X(answered, "each frame and request gets an answer in time")                                  \
  X(converges, "after the last fault the engine, the holders and the joins agree")              \
  X(nothing_left, "nothing remains of clients that have left")                                  \
  X(bounded, "the calls of a node for its peers are limited")                                   \
  X(alone, "the recording of each node replays alone")

enum class Checker : u8 {
#define X(name, promise) name,
  SIDEKICK_CLUSTER_CHECKERS(X)
#undef X
};
inline constexpr u32 handle_step = 64;  ///< a client's handles are its index and multiples of this
inline constexpr u32 no_turn = nobody;  ///< of a message whose client no longer has its token

inline constexpr const char* checker_names[] = {
#define X(name, promise) #name,
    SIDEKICK_CLUSTER_CHECKERS(X)
#undef X
};

struct Failure {
  Checker checker;
  u32 step;
  std::string what;
};

/// One of the operations of a world: a step, or the calm after 500 steps.
struct Op {
  u32 number = 0;
  sim::Dice dice;  ///< with which it begins, so that it draws the same when others are left out
};

/// A message as the engine has stamped it.
struct Stamped {
  u64 at = 0;
  u64 serial = 0;
};

/// A client's knowledge of a channel.
struct View {
  bool is_there = false;       ///< subscribed, as it was told
  bool is_exact = false;       ///< the client has every message up to `at`
  u64 at = 0;                  ///< stamp of the latest message, or the position at the start
  Millis came_at = 0;          ///< when that message or the reply came
  Millis unsettled_since = 0;  ///< of the client's node, at that time
  u64 serial_at_start = 0;     ///< messages published before it was told `subscribed`
};

struct Client {
  u32 index = 0;
  std::string session;  ///< empty: does not say hello
  u32 node = nobody;
  u32 handle = 0;
  bool is_welcome = false;
  bool is_confused = false;  ///< does not know which frame was answered
  u64 at = 0;                ///< the latest position that it was told
  std::string epoch;
  u64 last_id = 0;
  struct Asked {
    u64 id = 0;
    char kind = ' ';
    u32 what = 0;
    u64 since = 0;
    Millis at = 0;
  };
  std::set<u64> sends;  ///< ids of all its sends
  struct Send {
    u64 id = 0;
    u32 token = 0;
    u64 serial = 0;
    u32 handle = 0;  ///< of the connection that it was sent on last
  };
  std::deque<Send> unsettled;     ///< sends without an answer, on any connection
  std::map<u32, Millis> sent_at;  ///< by token
  std::deque<Asked> asked;        ///< frames without an answer
  std::map<u32, Millis> tokens;   ///< that it holds, as it was told, and since when
  std::set<u32> unsure;           ///< tokens of a channel of which one was lost
  std::set<u32> left;             ///< tokens of sockets that may look open to their nodes
  std::map<u32, View> views;      ///< by channel
  std::map<u32, u64> listens;     ///< to resources: the number of changes when it was told
  std::map<u32, u64> told;        ///< by resource: the number of changes at the latest `updated`

  /// Whether a frame of this kind has no answer yet.
  bool has_asked(char kind, u32 asked_what) const {
    return std::any_of(asked.begin(), asked.end(),
                       [&](const Asked& it) { return it.kind == kind && it.what == asked_what; });
  }
};

class World {
 public:
  /// script: the operations to perform, from a world of the same seed; null: all.
  World(u64 seed, u32 steps, const std::vector<Op>* script = nullptr);
  std::optional<Failure> run();
  u64 inputs() const { return network_.inputs; }
  u64 digest() const { return network_.digest; }
  void set_verbose() { network_.is_verbose = true; }
  /// The operations performed, up to the failure.
  const std::vector<Op>& ops() const { return ops_; }

 private:
  bool begin_op();
  void step();
  void step_client();
  void step_fault();
  void step_app_server();
  void post(u32 node, Bytes path, const std::string& body, char kind, u32 what);
  void open(Client& client);
  void close(Client& client, bool is_noticed);
  void ask(Client& client, char kind, u32 what, bool has_since);
  bool repeat_send(Client& client);
  void calm(u32 ms);
  void check_calm();
  void check_end();

  void on_action(Node& node, const Action& action);
  void on_text(Client& client, Bytes text);
  void on_reply(Client& client, const Client::Asked& asked, Bytes text);
  void on_subscribed(Client& client, u32 token, u64 since, Bytes text);
  void on_message(Client& client, Bytes text);
  bool may_miss(const Client& client, const View& view, const std::vector<Stamped>& all) const;
  void on_closed(Client& client);
  void end_turn(u32 token);
  void on_taken(Bytes node, Bytes token);
  void on_answer(Bytes node, const Answer& answer);
  bool is_taken_from(u32 token, const Client& client) const;
  void on_run(const Command& command, const engine::Shard::Answer& answer);
  void note_change(u32 resource);
  void lose_data(const std::map<u32, std::vector<Stamped>>& kept);
  void crash(Node& node);
  bool is_there(const std::string& name) const;
  bool is_well(u32 node, Millis since) const {
    return node != nobody && network_.nodes[node].trouble_at < since && data_lost_at_ < since;
  }
  bool fail(Checker checker, const std::string& what);

  u32 channel_of(u32 token) const { return token % channels_; }
  static std::string channel_name(u32 channel);
  static std::string topic_name(u32 channel);

  Network network_;
  sim::Dice& dice_;
  const u32 steps_;
  const std::vector<Op>* const script_;
  std::vector<Op> ops_;
  u32 op_count_ = 0;  ///< including those left out
  u32 step_ = 0;
  u32 channels_ = 2, tokens_ = 6, resources_ = 5;
  u32 fault_rate_ = 0;
  std::vector<Client> clients_;
  u32 handles_ = 0;
  u32 requests_ = 0;
  struct Post {
    u32 node;
    char kind;
    u32 what;
    Millis at;
  };
  std::map<u32, Post> posts_;  ///< without an answer
  struct Flight {
    u32 node;
    ForwardId id;
  };
  std::deque<Flight> flights_;
  std::vector<std::pair<u32, u32>> lost_sockets_;  ///< node and handle; the node has not noticed

  // The truth, as the engine has it.
  std::map<u32, std::vector<Stamped>> messages_;  ///< by channel
  std::map<u32, u64> changes_;                    ///< by resource: the number of the latest
  std::map<u32, Millis> changed_at_;
  struct ChangedBy {
    u64 run = 0;       ///< as Network::runs counts
    std::string node;  ///< the one that has the answer; empty: none yet
  };
  std::map<u32, ChangedBy> changed_by_;  ///< the latest change of each resource
  u64 change_count_ = 0;
  u64 serial_ = 0;
  Millis data_lost_at_ = 0;
  std::string epoch_;          ///< of the engine
  Millis epoch_began_at_ = 0;  ///< the nodes learn of lost data one after the other
  std::unique_ptr<engine::Shard> old_;
  std::map<u32, std::vector<Stamped>> old_messages_;
  std::map<u32, std::pair<u64, u32>> forwarded_;  ///< by token: the latest serial, and its turn
  /// By token and former node: when the session moved to another node, as Network::runs counts. The
  /// former node has not learnt it yet.
  std::map<std::pair<u32, std::string>, u64> taken_from_;
  std::map<u32, std::pair<u32, std::string>> turns_;  ///< by token: counts the nodes that had it
  std::set<u32> erased_;                              ///< tokens, until they are registered again
  std::set<u64> sent_on_;                             ///< serials that the app server has got
  std::map<u64, u32> turn_of_;                        ///< by serial of a send
  std::map<u64, u32> token_of_;                       ///< the same
  std::optional<Failure> failure_;
};

}  // namespace sidekick::cluster
