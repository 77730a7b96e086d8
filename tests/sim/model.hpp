// The expected behavior by the protocol's documents (docs/protocol.md, docs/architecture.md):
// tokens, clients, topics and lanes as plain lists of numbers. The model receives the meaning of
// each op and parses nothing except the records of clients after a restart. It uses the public
// headers of the core: types, limits, and text formatting.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "effect.hpp"
#include "words.hpp"

namespace sidekick::sim {

inline constexpr u32 nobody = 0xFFFFFFFF;

enum class Hold : u8 { free, held, subscribed, none };

/// How a message with an id has ended.
struct Ending {
  u64 id = 0;
  Reply reply = Reply::done;
  u32 status = 0;
  u32 body_bytes = 0;  ///< as kept
};

/// What a session has sent with a token.
struct Sends {
  u32 serial = 0;  ///< 0: no message with an id
  u64 last_id = 0;
  std::vector<u64> under_way;
  std::vector<Ending> endings;  ///< the latest
};
inline constexpr std::size_t endings_max = 32;
inline constexpr u32 sends_bytes = 1024;
inline constexpr u32 kept_body_bytes_max = 1024;

/// A position that a session was told, and how many changes and messages there were then.
struct Told {
  EpochFacts epoch;
  u64 position = 0;
  u32 published = 0;
  u32 hub = 0;
};
inline constexpr std::size_t told_max = 12;

/// The messages of a channel that are kept.
struct Recorded {
  struct Kept {
    u64 at;
    std::string text;
  };
  bool is_there = false;
  bool is_left = false;
  u64 left_at = 0;
  u64 floor = 0;
  std::vector<Kept> messages;
};

/// Of TokenFacts::session: held by a client that has not said hello.
inline constexpr u16 no_session = 0xFFFE;

struct TokenFacts {
  Hold hold = Hold::none;
  bool is_unclaimed = false;  ///< restored as held, and its client did not come back
  u8 order = 0;
  u16 scope = 0;
  u32 holder = nobody;
  u32 lane = nobody;
  Millis expires_at = 0;
  Payload context;
  u32 cost = 0;                ///< its share of token_store_bytes_max
  bool was_lost = false;       ///< gone since it could not be stored
  u16 session = no_one;        ///< of its latest holder
  bool is_known_here = false;  ///< registered with this hub, and held by one session since
  u64 registered_at = 0;       ///< the position then
  Sends sends;
};

struct ClientFacts {
  bool is_open = false;
  u16 session = no_one;  ///< of its hello
  u32 generation = 0;    ///< counts the clients that have used this index
  u32 handle = 0;        ///< its id in the hub
  std::vector<u16> tokens;
  std::vector<u16> resources;
  u64 resource_bytes = 0;
  u64 frame_credit = 0;  ///< thousandths of a frame
  Millis credited_at = 0;
};

/// A message on its way to the app server.
struct Message {
  u32 serial = 0;
  u16 scope = 0;
  u8 order = 0;
  u16 sender = 0;
  u32 generation = 0;
  Payload data;
  Payload context;
  u32 cost = 0;   ///< its share of the limits
  u64 id = 0;     ///< of a sender that said hello
  u32 sends = 0;  ///< Sends::serial
  u32 lane = 0;
};

struct Flight {
  ForwardId id = 0;  ///< 0: not assigned by the hub yet
  u32 lane = 0;
  Millis gives_up_at = 0;
  Message message;
};

struct Lane {
  bool is_used = false;
  u32 token = nobody;
  u32 in_flight = 0;
  u64 bytes = 0;
  std::vector<Message> waiting;
};

/// A token's row in the host's store, and what else the simulator knows of it.
struct TokenRow {
  bool is_there = false;
  u32 state = 0;
  Millis expires_at = 0;
  std::string record;
  u16 scope = 0;
  u8 order = 0;
  Payload context;
  bool is_of_later_version = false;  ///< the record has members that this version does not know
};

/// A forward that has timed out, or one of an earlier hub: its answer may still arrive.
struct Ghost {
  u32 serial = 0;
  ForwardId id = 0;
  bool is_of_earlier_hub = false;
};
inline constexpr std::size_t ghosts_max = 8;

/// The verdict that the hub must give before the body of a request is read.
struct Admission {
  VerdictKind kind = VerdictKind::answer;
  u32 body_bytes_max = 0;
  const char* protocol = "";
  // Of the answer, unless it is taken.
  u32 status = 0;
  ErrorCode code = ErrorCode::ok;
  const char* text = "";
  const char* header = "";
};

class Model {
 public:
  Model(const Swarm& swarm, const Words& words);

  /// Changes the state as `op` demands, and replaces the effects by those it must cause. `bytes`:
  /// the size of its frame or body.
  void step(const Op& op, u32 bytes, u32 request);

  /// A new hub.
  void begin(Millis now, u64 epoch);

  Admission admission(const Op& op) const;

  /// Of a client that opens next.
  void set_handle(u32 client, u32 handle) { clients_[client].handle = handle; }

  /// A new hub knows only the rows, and the records of the clients that are still connected.
  void reload(Millis now, u8 config, u64 epoch, const std::vector<TokenRow>& rows,
              const std::vector<std::string>& records, const std::vector<u8>& is_back);

  std::vector<Effect> effects;
  u32 own_from = 0;  ///< effects from here on belong to the op; earlier ones come from deadlines
  std::string text;  ///< the texts of the effects are parts of this
  Bytes text_of(const Effect& effect) const { return Bytes(text).substr(effect.text, effect.size); }

  /// The checker that explains why this op must be rejected, if there is one.
  std::optional<Checker> verdict() const { return verdict_; }

  Millis now() const { return now_; }
  bool is_draining() const { return drain_.is_on; }
  /// The hub's clock. Unlike now(), it steps back.
  Millis clock() const { return clock_; }
  const EpochFacts& epoch() const { return epoch_; }
  const std::vector<Told>& told(u32 session) const { return told_[session]; }

  /// What a text promises against what has happened since the client was told that position; null:
  /// nothing is wrong. Does not depend on stamps.
  const char* broken_promise() const { return broken_promise_; }

  /// The memory that the change log and the history may use.
  u64 missed_bytes() const { return log_bytes_ + history_bytes_; }
  const std::vector<TokenFacts>& tokens() const { return tokens_; }
  const std::vector<ClientFacts>& clients() const { return clients_; }
  std::vector<Flight>& flights() { return flights_; }
  const std::vector<Flight>& flights() const { return flights_; }
  const std::vector<Ghost>& ghosts() const { return ghosts_; }
  const std::vector<Lane>& lanes() const { return lanes_; }
  bool is_idle() const { return lane_count_ == 0; }

  u32 subscriber_count(u32 topic, Audience audience) const;
  bool is_in(Audience audience, u32 client) const {
    return audience == Audience::all || (audience == Audience::hello) == has_session(client);
  }
  /// Topics: channels first, then resources. Per client whether it is subscribed, and the number of
  /// subscribers.
  u32 resource_topic(u32 resource) const {
    return static_cast<u32>(words_.scopes.size()) + resource;
  }
  bool is_subscribed(u32 topic, u32 client) const {
    return subscriptions_[topic * clients_.size() + client] != 0;
  }
  u32 subscriber_count(u32 topic) const { return subscriber_counts_[topic]; }

  /// The next deadline; 0: none.
  Millis soonest();
  /// Not later than soonest(), and cheap.
  Millis soonest_at_least() const { return soonest_; }

  u32 client_count() const { return client_count_; }
  u32 token_count() const { return token_count_; }
  u32 topic_count() const { return topic_count_; }

  void append_record(std::string& out, u32 token) const;
  void append_client_record(std::string& out, u32 client) const;

 private:
  struct Complaint {
    std::string text;          ///< a pattern; empty: none
    bool has_channel = false;  ///< whether the channel, and the params, could be read
    bool has_params = false;
    bool is_limit = false;
    ErrorCode code = ErrorCode::shape;
  };

  // model.cpp: time, sockets, topics
  void settle();
  void expire();
  void open(u32 client);
  void close(u32 client);
  void lag(u32 client, u32 bytes);
  void drop(u32 client, u32 status, ErrorCode code, const char* reason);
  void close_socket(u32 client, u32 status, ErrorCode code, const char* reason);
  void not_stored(const Op& op);
  void drain(const Op& op);
  void close_drained();
  void drop_drained(u32 client);
  bool is_busy(u32 client) const;
  u64 listen_cost(u32 resource) const;
  void subscribe(u32 topic, u32 client);
  void unsubscribe(u32 topic, u32 client);
  void forget(u32 token);
  void free_token(u32 token);
  void wait_until(Millis at) { soonest_ = soonest_ == 0 || at < soonest_ ? at : soonest_; }

  // model_frames.cpp: messages from clients
  Complaint complaint_of(const Op& op, u32 bytes) const;
  Complaint resources_complaint(const Op& op) const;
  void frame(const Op& op, u32 bytes);
  void take_frame(const Op& op);
  void take_subscribe(const Op& op);
  void take_unsubscribe(const Op& op);
  void take_send(const Op& op);
  void take_listen(const Op& op);
  void take_unlisten(const Op& op);
  bool may_use(const Op& op);
  bool has_frame_credit(ClientFacts& client);
  void refuse(const Op& op, const char* fault, ErrorCode code, Bytes pattern, bool has_channel,
              bool has_params);
  bool hold(const Op& op);

  // model_hello.cpp: clients that say hello
  void take_hello(const Op& op);
  void take_over(u32 from, u32 to);
  void pass_clock(Millis now);
  void record_epoch();
  u64 position() const;
  void read_greeting(Bytes line, ClientFacts& client);
  bool has_session(u32 client) const { return clients_[client].session != no_one; }
  u32 session_count() const;
  bool is_extended(const Op& op) const;
  void append_id(u32 client, u64 id);
  void append_at(u32 client);
  void attach_whole(u32 client, bool is_durable);
  u64 told_id(const Op& op, ErrorCode code) const;

  // model_missed.cpp: changes, messages and outcomes for clients that come back
  bool is_known(const Op& op) const;
  u64 position_before(Millis ms) const;
  void start_log();
  bool settle_log();
  void log_change(u32 resource, u64 at);
  u64 changed_at(u32 resource) const;
  void say_updated(u32 client, u32 resource);
  const Told* find_told(const Op& op) const;
  void check_missed(const Op& op);
  void join_history(u32 scope);
  void leave_history(u32 scope);
  void expire_history();
  void forget_oldest(u32 scope);
  void erase_history(u32 scope);
  void record_message(u32 scope, u64 at, Bytes text);
  void shrink_history();
  u32 find_recorded(const Op& op);
  void say_missed(const Op& op, u32 scope);
  u32 record_cost(u32 scope) const;
  void set_session(u32 token, u16 session);
  bool repeat(const Op& op);
  void take_if_free(const Op& op);
  void begin_send(const Op& op, Message& message);
  void recount_cost(u32 token);
  void say_ending(u32 client, const Message& message, Reply reply, u32 status);

  // model_http.cpp: requests from the app server
  void http(const Op& op, u32 bytes, u32 request);
  void connection(const Op& op, u32 request);
  void publish(const Op& op);
  void change(const Op& op);
  void health(u32 request, bool is_known);
  void ready(u32 request);
  void respond(u32 request, u32 status, ErrorCode code, Bytes body, const char* header = "");
  Admission socket_admission(const Op& op) const;

  // model_forwards.cpp
  void forward(const Op& op);
  void start(u32 lane, const Message& message);
  void answer(const Op& op);
  void expire_flights(Millis until);
  void end_flight(u32 index);
  void end_message(const Message& message, Reply reply, u32 status);
  void append_forward_body(const Message& message);

  // Texts and effects.
  Effect& add(EffectKind kind, u32 who);
  u32 cost_of(u32 token);
  void reload_token(u32 token, const TokenRow& row);
  void reload_client(u32 client, bool is_back, Bytes record);
  void read_line(Bytes line, ClientFacts& client);
  void recount_soonest();
  void begin_text() { begun_ = static_cast<u32>(text.size()); }
  void end_text(Effect& effect) {
    effect.text = begun_;
    effect.size = static_cast<u32>(text.size()) - begun_;
  }
  void touch(u32 token);
  void erase(u32 token, bool is_told = false);
  void attach_token(u32 client, const char* what, u32 token);
  void attach_resources(u32 client, const char* what);
  void end_error(u32 client, const char* fault, ErrorCode code, Bytes pattern, u64 id);
  void say_scope(const Op& op, const char* type, u32 scope, u32 order);
  void say_resources(const Op& op, const char* type);
  void append_scope(u32 scope, u32 order);

  const Swarm& swarm_;
  const Config* config_;  ///< one of the two of the swarm
  const Words& words_;

  Millis now_ = 0;
  Millis soonest_ = 0;
  bool is_stopping_ = false;
  struct Drain {
    bool is_on = false;
    u32 clients = 0;  ///< open at its start
    Millis from = 0, until = 0;
    Millis slice_at = 0;  ///< when the next sockets close; 0: none is left
  } drain_;
  Millis clock_ = 0;
  EpochFacts epoch_;
  bool is_epoch_restored_ = false;
  bool is_epoch_recorded_ = true;  ///< all records of clients name it
  u64 last_stamp_ = 0;

  bool is_oversized_ = false;  ///< the frame at hand: refused unread
  std::vector<TokenFacts> tokens_;
  std::vector<ClientFacts> clients_;
  std::vector<Flight> flights_;
  std::vector<Ghost> ghosts_;  ///< the latest ghosts_max
  std::vector<Lane> lanes_;
  std::vector<u8> subscriptions_;
  std::vector<u32> subscriber_counts_;
  u32 client_count_ = 0, token_count_ = 0, topic_count_ = 0, lane_count_ = 0;
  u64 token_bytes_ = 0;
  u64 forward_bytes_ = 0;
  u64 topic_bytes_ = 0;

  bool is_log_on_ = false;
  u64 log_floor_ = 0;
  u64 log_bytes_ = 0;
  struct Change {
    u32 resource;
    u64 at;
  };
  std::vector<Change> log_;  ///< oldest first
  Millis sessions_left_at_ = 0;
  std::vector<Recorded> recorded_;  ///< by scope
  std::vector<u32> left_;           ///< scopes, in the order in which they were left
  u64 history_bytes_ = 0;
  u32 sends_started_ = 0;
  u32 hubs_started_ = 0;
  u64 started_at_ = 0;  ///< the position at the start of this hub

  // The truth, over all hubs.
  u32 published_ = 0;
  std::vector<u32> last_change_;           ///< by resource
  std::vector<std::vector<u32>> sent_to_;  ///< by scope: when its messages were published
  std::vector<std::vector<Told>> told_;    ///< by session: the latest
  std::vector<std::vector<std::pair<u16, u64>>> handed_on_;  ///< by token: session and id
  const char* broken_promise_ = nullptr;

  std::optional<Checker> verdict_;
  u32 begun_ = 0;
  std::vector<u16> changed_;
  std::vector<u16> asked_, missed_;  ///< of a listen
  bool is_recovered_ = false;
  std::vector<u8> is_marked_;
};

}  // namespace sidekick::sim
