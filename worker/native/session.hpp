// The life of a hub: passes inputs to it, performs its actions in list order, records, refuses what
// could not be stored, and replaces it after a trap. Owns the hub. Knows no socket, no file and no
// clock: its SessionIo has those. Makes no protocol decision.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "log.hpp"
#include "runtime/runtime.hpp"
#include "sidekick/held_input.hpp"
#include "store/tokens.hpp"

namespace sidekick::host {

/// The sender of an input, which gets an error if the input fails. Zeros: none.
struct Peer {
  ClientId client = 0;
  RequestId request = 0;
  auto operator<=>(const Peer&) const = default;
};

struct OpenClient {
  ClientId client;
  Bytes record;
};

/// The surroundings of a hub. No call may destroy the session; inputs may be applied in each.
class SessionIo {
 public:
  /// Called after the previous hub was dropped, and for a snapshot beside the hub. Throws if there
  /// can be none for now.
  virtual std::unique_ptr<Runtime> create_hub() = 0;
  virtual Millis now() = 0;
  /// Random, 1 to 2^53-1.
  virtual u64 draw_epoch() = 0;

  virtual bool is_recording() = 0;
  virtual void record(Bytes lines) = 0;
  /// For the log of a trap: the place of the next line of the recording, or how to record.
  virtual std::string recording_place() = 0;

  /// The stored tokens and the open clients, from which a new hub is restored.
  virtual std::vector<StoredToken> stored_tokens() = 0;
  virtual std::vector<OpenClient> open_clients() = 0;
  /// Drops all of that.
  virtual void forget_all() = 0;

  /// No hub will answer: closes the client, and answers all open requests.
  virtual void fail(const Peer& peer, NoAnswer why) = 0;

  /// A new hub takes the place of the last one, and must get nothing that was meant for that one.
  virtual void renew_engine() = 0;

  /// Session::commit() and start_forwards() are due.
  virtual void end_turn_later() = 0;
  /// Makes the changes since the last call durable. Returns why that failed; then none of them is.
  virtual std::string commit() = 0;
  /// Drops what this peer would get at the end of this turn: it is not true. Its request is open
  /// again.
  virtual void withhold(const Peer& peer) = 0;

  // The actions, by their names. Changes of tokens become durable with commit(); other output is
  // held back until then.
#define SIDEKICK_ACTION(Type, name, number, fields) virtual void name(const action::Type& it) = 0;
#include "sidekick/border.def"

 protected:
  ~SessionIo() = default;
};

class Session {
 public:
  /// hub: a fresh one.
  Session(SessionIo& io, Log& log, std::unique_ptr<Runtime> hub);

  /// Call once, before the first input: restores what is stored. Throws StartError.
  void start();

  /// If called while an input is applied, the input comes after it.
  void apply(const Input& input, const Peer& peer = {});

  /// Says how to handle a request: see Runtime::admit.
  std::variant<Verdict, NoAnswer> admit(const input::HttpRequest& request);

  /// The answer to a request with the verdict `metrics`, which is not applied; without the families
  /// that only the host knows.
  std::variant<std::string, NoAnswer> metrics(const input::HttpRequest& request);

  /// The trace of a second hub, which is restored now from the stored part of this hub's state.
  /// Takes time and memory for all of it. Throws if there can be no such hub.
  std::string snapshot();
  /// Call after a snapshot, once its reader gets this hub's lines. This hub may have a timer that
  /// is set too early, and the second hub does not. This gives the hub an input after which both
  /// set the same timer. It does nothing during a drain, because the second hub does not know its
  /// steps.
  void align_timer();

  /// The end of a turn: call commit() before its output is written, start_forwards() after.
  void commit();
  void start_forwards();
  /// Some start at the end of this turn.
  bool holds_forwards() const { return !forwards_.empty(); }

  /// Call about once a second: creates a hub if that has failed before, as each input does.
  void retry();

  /// From now on the hub refuses sockets, and closes the open ones at a steady rate until the end.
  void drain(u32 ms);

  /// From now on the hub rejects messages for the app server; forwards in flight continue.
  void shut_down();

 private:
  struct Waiting {
    HeldInput input;
    Peer peer;
  };
  /// The sender of an input that has changed what is stored.
  struct Writer {
    Peer peer;
    std::string key;  ///< of the token, if it was put or erased
    auto operator<=>(const Writer&) const = default;
  };
  struct HeldForward {
    ForwardId forward;
    u32 timeout_ms;
    std::string body;
    ClientId sender;
    u64 turn;
  };
  struct Trapped {
    Millis now;
    HeldInput input;
  };

  template <class Work>
  void work(Work work);
  template <class Answer, class Ask>
  std::variant<Answer, NoAnswer> ask(const input::HttpRequest& request, Ask answer);
  void apply_one(const Input& input, const Peer& peer);
  void step(Millis now, const Input& input, const Peer& peer = {});
  void record(Bytes lines);
  void perform(const Action& action, const Peer& peer);
  void perform_one(const Action& action, const Peer& peer);
  void note_write(bool durable, const Peer& peer, Bytes key = {});
  void refuse(const Writer& writer);
  template <class Is>
  std::vector<ForwardId> drop_held(Is is);

  void log_trap(Bytes message, Bytes why);
  void recover(const std::string& why, Millis now, const Input& input, const Peer& peer);
  bool make(Millis now, ClientId opening = 0);
  bool restore(Millis now, ClientId opening = 0);
  template <class Give>
  void give_stop(Millis now, Give give);
  void restore_one(Millis now, const Input& input);

  SessionIo& io_;
  Log& log_;
  std::unique_ptr<Runtime> hub_;    ///< nothing if it could not be replaced yet
  std::optional<Trapped> trapped_;  ///< the input that no recording has yet
  std::list<Waiting> waiting_;
  bool is_applying_ = false;
  bool is_shutting_down_ = false;
  Millis drained_at_ = 0;  ///< the end of the drain; 0: there is none
  u64 epoch_ = 0;
  ForwardId latest_forward_ = 0;  ///< of this hub; 0: none yet

  // of this turn
  std::vector<Writer> writers_;
  std::deque<HeldForward> forwards_;
  u64 turn_ = 0;
  bool has_written_ = false;

  bool is_storage_failing_ = false;  ///< logged once, and once on recovery
  u64 refused_ = 0;
  u64 erased_ = 0;  ///< tokens, in this process
  u64 traps_ = 0;
  u64 recorded_bytes_ = 0;
};

}  // namespace sidekick::host
