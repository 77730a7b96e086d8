// One hub on trial: takes ops, passes them to the hub as a host does, performs its actions in list
// order, and compares each with the model. Owns the hub, the host's store, and the twin. Makes no
// ops itself, so any list of ops can be run again.
#pragma once

#include <array>
#include <map>
#include <memory>

#include "model.hpp"
#include "shared.hpp"
#include "sidekick/hub.hpp"

namespace sidekick::sim {

struct Failure {
  Checker checker;
  u32 step = 0;  ///< the index of the op
  std::string expected;
  std::string came;
};

/// A request whose answer may still come.
struct OpenRequest {
  u32 request = 0;
  u32 status = 0;
  ErrorCode code = ErrorCode::ok;
  const char* header = "";
  std::string text;  ///< a pattern
};

inline constexpr Millis first_now = 1'700'000'000'000;

/// The end of a record that a later version wrote.
inline constexpr Bytes later_token_member = ", \"later\": [1, { \"channel\": \"none\" }] }";
inline constexpr Bytes later_client_member = ", \"later\": { \"tokens\": [\"t0\"] } }";

class Trial {
 public:
  /// `trace`: receives the trace of all hubs; may be null. `is_canary`: the host sometimes forgets
  /// a row, to test the checkers.
  Trial(const Swarm& swarm, const Words& words, std::string* trace = nullptr,
        bool is_canary = false);
  ~Trial();

  /// Returns false at the first failure; then the trial is over.
  bool take(const Op& op);

  const std::optional<Failure>& failure() const { return failure_; }
  const Model& model() const { return model_; }
  bool has_socket(u32 client) const { return sockets_[client] != 0; }
  Millis timer_at() const { return timer_at_; }
  Millis drained_at() const { return drained_at_; }
  u64 inputs() const { return inputs_; }
  u64 digest() const { return digest_; }

  /// The memory of the hub in bytes, and an upper bound for it while the hub is empty.
  long long held_bytes() const { return held_bytes_; }
  bool check_memory();
  bool check_rows();
  /// To be asked once the hub had a further call for the answers.
  bool check_answered();
  bool has_open_requests() const { return !open_requests_.empty(); }

 private:
  /// Records the first failure. Returns false, for the caller to return.
  bool fail(Checker checker, std::string expected, std::string came);

  // trial.cpp: the duties of a host
  void start_hub();
  bool begin(Millis now, u64 epoch);
  bool take_input(const Op& op);
  std::optional<Input> input_of(const Op& op);
  std::optional<Input> answer_of(const Op& op);
  const Config& config() const { return swarm_.configs[config_]; }
  bool hand(Millis now, const Input& input);
  bool lose_hub(const char* what);
  bool restart(const Op& op);
  bool restore(Millis now, const Input& input);
  void write_later();
  void lose_socket(u32 client);
  bool check_actions(const Op& op);
  u32 handle_of(u32 client) const {
    return first_handle_ + client + (reuses_handles_ ? 0 : generations_[client] * swarm_.clients);
  }
  /// Returns the index of the open client with this handle, or nobody.
  u32 client_of(u32 handle) const;
  bool is_performed() const { return performed_ < cut_; }

  // trial_requests.cpp: admission, and the answers
  struct Answer {
    u32 status;
    ErrorCode code;
    Bytes header;
    Bytes text;  ///< a pattern
  };
  std::optional<Input> knock(const Op& op);
  input::HttpRequest request_of(const Op& op);
  bool ask(const Op& op, const input::HttpRequest& request);
  bool check_respond(const Action& action);
  bool check_answer(const Action& action, const Answer& demanded);
  void keep_open(const Effect& effect);

  // trial_store.cpp: a store that fails
  bool end_turn(Millis now);
  void note_writer(const Op& op);
  bool store(bool is_durable);
  bool store_row(u32 token, const Action& action, bool is_durable);

  // trial_checks.cpp: every action against the effects
  bool check(const Action& action);
  bool check_row(const Action& action, Bytes key);
  bool check_attach(const Action& action);
  bool check_send(const Action& action);
  bool check_publish(const Action& action, Effect& effect);
  bool check_forward(const Action& action);
  bool check_cancel(const Action& action);
  bool check_close(const Action& action);
  static std::optional<Checker> blame_member(Bytes demanded, Bytes came);
  bool check_timer();
  bool check_all_met();
  Effect* find(EffectKind kind, u32 who);
  bool meet(Effect& effect);
  bool is_met(const Effect& effect, Bytes text) const;
  bool is_append_due(u32 client, std::size_t change_bytes) const;
  bool miss_durable(const Action& action);
  bool miss(const Effect* effect, const Action& action, Checker otherwise);
  Checker blame(Checker otherwise) const { return model_.verdict().value_or(otherwise); }
  std::string show(const Effect& effect) const;
  std::string show(const Action& action) const;

  // twin.cpp: a second hub, restored beside the first
  void start_twin(Millis now);
  bool is_forgetful(const Op& op) const;
  bool compare_twin(const Op& op, Input input);
  void pair_flights();
  bool check_twin_hash();

  // shared_checks.cpp: a second hub, with an engine
  static constexpr u32 none_told = 0xFFFFFFFF;
  Op shared_op(const Op& op) const;
  bool is_shared(const Op& op) const;
  bool compare_shared(const Op& op, Input input, const Op& asked);
  bool compare_seen(const Op& op, const Op& asked, SharedHub::Seen& first,
                    const SharedHub::Seen& other, bool may_differ);
  bool compare_missed(const Op& op, const Op& asked, const std::vector<std::string>& texts,
                      const std::vector<std::string>& came);
  bool compare_health(Bytes came);
  bool asks_again(const Op& op, const Op& asked) const;
  void note_told(Bytes text, Bytes came, const Op& op);

  const Swarm& swarm_;
  const Words& words_;
  Model model_;
  u8 config_ = 0;  ///< index into the swarm's two configs
  std::unique_ptr<Hub> hub_;
  Actions actions_;
  std::string* trace_;
  const bool is_canary_;
  const bool reuses_handles_;
  const u32 first_handle_;

  // The host's store.
  std::vector<TokenRow> rows_;
  std::vector<std::string> records_;
  std::vector<u8> sockets_;
  std::vector<u32> generations_;
  Millis timer_at_ = 0;
  u32 request_ = 0;
  std::vector<OpenRequest> open_requests_;

  // A turn in which the store fails.
  bool is_failing_ = false;
  u32 turn_left_ = 0;        ///< further ops
  u32 fail_ = no_cut;        ///< the store fails from this action on
  bool has_lost_ = false;    ///< a durable action of this input: nothing that follows is performed
  u16 lost_token_ = no_one;  ///< that of a durable put_token or erase_token of this input
  std::vector<Op> writers_;  ///< what the host passes at the end of the turn
  std::vector<ForwardId> withheld_;
  std::vector<u8> stale_rows_;     ///< by token: 1: an update was lost, 2: the row itself
  std::vector<u8> stale_records_;  ///< by client
  bool is_stopping_ = false;
  Millis drained_at_ = 0;  ///< the end of the drain; 0: there is none

  Dice epochs_;   ///< of the hubs after the first
  Model reader_;  ///< reads the store in check_rows

  std::unique_ptr<Hub> twin_;
  Actions twin_actions_;
  EpochFacts twin_epoch_;
  std::unordered_map<ForwardId, ForwardId>
      twin_flights_;  ///< flight ids of the first hub and of the twin; looked up, never iterated

  std::unique_ptr<SharedHub> shared_;
  std::unordered_map<ForwardId, ForwardId> shared_flights_;  ///< of the first hub and of this one
  std::unordered_map<u64, u64> shared_positions_;            ///< the same
  std::string shared_epoch_;                                 ///< as the second hub names it
  struct ToldAt {
    u32 first, last;  ///< how many changes there were
  };
  std::map<std::pair<u16, u64>, ToldAt> shared_told_;   ///< by session and position
  std::unordered_map<u32, std::string> shared_topics_;  ///< by scope

  std::optional<Failure> failure_;
  u32 steps_ = 0;
  u64 inputs_ = 0;
  u64 digest_ = 0xcbf29ce484222325;
  long long held_bytes_ = 0;
  long long twin_bytes_ = 0;
  std::array<u32, 4>
      peaks_{};  ///< the largest counts of this hub: clients, tokens, topics, forwards in flight
  u64 peak_missed_bytes_ = 0;      ///< of the change log and the history
  long long peak_text_bytes_ = 0;  ///< the largest output for one input
  std::size_t first_open_ = 0;     ///< effects before this one are met
  u32 performed_ = 0;
  u32 cut_ = no_cut;
  std::string bytes_;
  std::string whole_;
  std::vector<u32> seen_in_;  ///< by client: the publish in which it was last seen
  u32 publish_ = 0;
};

/// Updates a digest of everything the hub does.
u64 digest_of(u64 digest, const Action& action);

/// The number of bytes the action points to.
long long text_bytes_of(const Action& action);

}  // namespace sidekick::sim
