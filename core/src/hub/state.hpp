// The state of a hub, and the private functions that turn one input into actions. Their prefixes:
//   on_    handles one kind of input or message: checks first, then changes state and emits
//   emit_  adds an action
#pragma once

#include "hub/admission.hpp"
#include "hub/metrics.hpp"
#include "hub/parking.hpp"
#include "hub/records.hpp"
#include "hub/stamps.hpp"
#include "sidekick/hub.hpp"
#include "tables/changes.hpp"
#include "tables/clients.hpp"
#include "tables/engine.hpp"
#include "tables/forwards.hpp"
#include "tables/history.hpp"
#include "wire/message.hpp"

namespace sidekick {

/// The party at fault for an error, in the terms of the protocol.
enum class Blame : u8 { client, server, sidekick };

inline constexpr char unknown_outcome[] =
    "the outcome of this message is not known; it may have been processed";

Bytes encode_updated(TextArena& out, Bytes resource);
inline constexpr Bytes channel_message_start = "{ \"type\": \"message\", \"channel\": ";
/// Writes a `message` for the subscribers of its channel, without the closing ` }`.
void append_channel_message(TextArena& out, const Message& message);

struct Hub::State {
  explicit State(Config from)
      : config(std::move(from)),
        topics(config.hash_seed),
        tokens(config.hash_seed, deadlines),
        clients(config.hash_seed),
        forwards(config.hash_seed, deadlines),
        history(config),
        engine(config),
        decoder(config) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const Config config;
  Deadlines deadlines;
  Topics topics;
  Tokens tokens;
  Clients clients;
  Forwards forwards;
  Changes changes;
  History history;
  Engine engine;
  Parking parking;
  MessageDecoder decoder;
  Stamps stamps;
  Metrics metrics;

  Millis now = 0;                  // the latest time seen
  Millis timer_at = 0;             // the time the host's timer is set to; 0: not set
  std::vector<TokenId> unclaimed;  // restored as held; their clients are not restored yet
  std::string topic_name;          // scratch
  std::vector<TopicId> listened;   // scratch
  std::vector<Bytes> changed;      // scratch
  std::vector<Bytes> missed;       // scratch
  struct LookedUp {
    TopicId topic;
    u64 hash;
    Bytes resource;
  };
  std::vector<LookedUp> looked_up;  // scratch
  Millis sessions_left_at = 0;      // when the last client that said hello left
  bool is_shutting_down = false;
  u64 begin_epoch = 0;   // of this hub
  u64 epochs_drawn = 0;  // names for a history of the engine that this hub has offered

  /// The frame or request that is being handled, while there is an engine: it may have to wait.
  struct Current {
    ClientSlot client = none;  ///< none: a request
    RequestId request = 0;
    Route route = Route::unknown;
    Millis came_at = 0;
    Bytes text;
    u32 parked = none;  ///< set once it waits
    bool has_to_wait = false;
  };
  Current current;

  struct Drain {
    bool is_on = false;
    u32 clients = 0;   // that were open at the start
    Millis from = 0;   // the first socket closes after this
    Millis until = 0;  // the last one, at this time
    u32 slice = none;  // the deadline of the next slice; none: no client is left
  } drain;

  // hub.cpp: time, and events of sockets
  void on_begin(const input::Begin& in);
  void expire_due(Actions& out);
  void expire_token(TokenId id, Actions& out);
  void arm_timer(Actions& out);
  void on_client_opened(const input::ClientOpened& in, Actions& out);
  void on_client_closed(const input::ClientClosed& in, Actions& out);
  void on_client_lagging(const input::ClientLagging& in, Actions& out);
  void drop_client(ClientSlot slot, Actions& out);

  // hub_drain.cpp: sockets that close little by little
  void on_draining(const input::Draining& in, Actions& out);
  void on_drain_slice(Actions& out);
  void emit_drained(ClientSlot slot, Actions& out);
  bool is_busy(const Client& client) const;

  // hub_frames.cpp: messages from clients
  void on_client_frame(const input::ClientFrame& in, Actions& out);
  void on_message(ClientSlot slot, const Message& message, Actions& out);
  void on_ping(ClientSlot slot, Actions& out);
  void on_subscribe(ClientSlot slot, const Message& message, Actions& out);
  void end_subscribe(ClientSlot slot, TokenId id, const Message& message, Actions& out);
  void on_unsubscribe(ClientSlot slot, const Message& message, Actions& out);
  void on_send(ClientSlot slot, const Message& message, Actions& out);
  bool has_room(ClientSlot slot, const Token& token, const Forward& forward, bool has_to_wait,
                Actions& out);
  bool is_unseen(const Message& message) const;
  bool on_repeat(TokenId id, ClientSlot slot, const Message& message, Actions& out);
  void on_listen(ClientSlot slot, const Message& message, Actions& out);
  bool has_room_to_listen(ClientSlot slot, u64 added_bytes, u64 added_cost, Actions& out);
  struct Lookback {
    bool is_recovered = false;
    u64 at = 0;
  };
  Lookback look_back(const Message& message);
  bool looks_back(const Message& message) const {
    return message.since || config.listen_lookback_ms != 0;
  }
  void on_unlisten(ClientSlot slot, const Message& message, Actions& out);
  void refuse(ClientSlot slot, Blame blame, const char* text, ErrorCode code, Actions& out);
  bool take_frame_credit(Client& client);
  bool may_use(TokenId id, ClientSlot slot);
  void hold_token(TokenId id, ClientSlot slot);
  void take_if_free(TokenId id, ClientSlot slot, Actions& out);
  void remove_resources(Client& client, std::span<const Bytes> names);
  void end_subscription(TokenId id, ClientSlot slot);
  void forget_token(TokenId id);

  // hub_hello.cpp: clients that say hello
  void on_hello(ClientSlot slot, const Message& message, Actions& out);
  void take_over(ClientSlot from, ClientSlot to, Actions& out);
  void join_channel(TopicId topic, ClientSlot slot);
  void leave_channel(TopicId topic, ClientSlot slot);
  void publish_stamped(TopicId topic, u32 recorded, Actions& out);
  u32 find_recorded(const Token& token, const Message& message);
  void record_epoch(Actions& out);
  bool settle_change_log();
  bool is_known(const Message& message) const;
  u32 spread_ms() const;

  // hub_engine.cpp: what several Sidekicks share
  void on_engine_up(const input::EngineUp& in, Actions& out);
  void on_engine_down(const input::EngineDown& in, Actions& out);
  void on_engine_answer(const input::EngineAnswer& in, Actions& out);
  void take_answer(const Call& call, const input::EngineAnswer& in, Actions& out);
  void on_engine_message(const input::EngineMessage& in, Actions& out);
  void on_inbox(u32 index, Bytes body, Actions& out);
  void on_joined(const Call& call, bool is_done);
  void note_top(const Call& call, const input::EngineAnswer& in);
  void on_changed(const Call& call, const input::EngineAnswer& in);
  void publish_changes(Actions& out);
  bool await_joins(std::span<const TopicId> wanted, Actions& out);
  bool await_changed(std::span<const TopicId> wanted, const Message& message, Actions& out);
  Lookback look_back_in_engine(const Message& message);
  void release_interests(const Call& call);
  void hold_interests(std::span<const TopicId> wanted);
  void let_go_of_interests(std::span<const u32> interests);
  void await(Call& call, u32 id);
  void end_awaiting(const Call& call);
  void release_topic(TopicId topic) {
    if (engine.is_on()) return linger(topic);
    topics.release_if_idle(topic);
  }
  void linger(TopicId topic);
  void end_linger(u32 id, Actions& out);
  void leave(u32 shard, Bytes topic, Actions& out);
  u32 call_script(Call call, Bytes script, std::span<const Bytes> args, Actions& out);
  void call_join(Call call, Actions& out);

  // hub_claims.cpp: tokens with an engine
  Bytes session_of(ClientSlot slot, TextArena& out) const;
  Bytes session_of_token(TokenId id, TextArena& out);
  void register_token(const Token& draft, Actions& out);
  void on_registered(const Call& call, const input::EngineAnswer& in);
  bool await_claim(ClientSlot slot, Bytes key, bool is_sure, Actions& out);
  void on_claimed(const Call& call, const input::EngineAnswer& in, Actions& out);
  bool is_draining(TokenId id) const;
  bool is_unclaimed(TokenId id) const;
  void refuse_claim(Bytes key, Bytes session);
  void end_claim(const Findings& found, ClientSlot slot, Actions& out);
  void let_go(TokenId id, Actions& out);
  void release_claim(Bytes key, Bytes session, u32 keep_ms);
  u32 unused_keep_ms() const;
  bool is_in_doubt(const Call& call, const input::EngineAnswer& in, Actions& out);
  bool confirm(const Call& call, Actions& out);
  bool await_confirmation(TokenId id, Actions& out);
  void on_erase_cut(const Call& call);
  void flush_releases(u32 index, Actions& out);
  void on_claim_cut(const Call& call);
  Call* find_erase_of(Bytes key);
  bool await_erase(TokenId id, ClientSlot slot, Actions& out);
  void on_erased(const Call& call, const input::EngineAnswer& in, Actions& out);
  void lose(TokenId id, Actions& out);
  void reclaim(u32 index, Actions& out);
  void reclaim_next(u32 index, Actions& out);
  bool call_reclaim(u32 index, std::span<const std::string> keys, bool has_records, Actions& out,
                    std::span<const Waiter> waiters = {});
  void on_reclaim_cut(const Call& call);
  void on_reclaimed(const Call& call, const input::EngineAnswer& in, Actions& out);
  void on_hint(u32 index, bool is_taken, Bytes session, Bytes key, Actions& out);

  // hub_channels.cpp: messages of channels with an engine
  void publish_message(const Message& message, Actions& out);
  void deliver(TopicId topic, u64 at, Bytes plain, Actions& out);
  static Bytes stamped(Bytes plain, u64 at, TextArena& out);
  void on_channel_message_of_engine(u32 id, u64 at, Bytes plain, Actions& out);
  bool await_history(TokenId id, TopicId topic, const Message& message, Actions& out);
  void call_history(Call call, Actions& out);
  void run_histories(Actions& out);
  void run_history(Call& call, Actions& out);
  static bool read_history(const input::EngineAnswer& in, u64& at,
                           std::vector<Interest::Message>& older);
  void on_history(const Call& call, const input::EngineAnswer& in);
  void replay(u32 id, Actions& out);
  void on_replayed(const Call& call, const input::EngineAnswer& in, Actions& out);
  void end_recovery(u32 id, std::span<const Interest::Message> older, u64 at, Actions& out);
  void stop_recovery(u32 id, Actions& out);
  void tell_lost(TopicId topic, Actions& out);
  void lose_all(u32 index);

  // hub_gateway.cpp: an engine without heartbeats, and a host that may sleep
  void pass_time();
  void resume(u32 index, Actions& out);
  void tell_joins(u32 index, Actions& out);
  void hand_over_free_tokens();
  void hand_over(TokenId id, Millis expires_at);
  void hand_over_next(u32 index, Actions& out);
  void hand_over_first(u32 index, Bytes key, Actions& out);
  void hand_over_last(Shard& shard, u32 index, Actions& out);
  void on_handed_over(const Call& call, const input::EngineAnswer& in, Actions& out);
  Millis next_reclaim() const;

  // hub_parking.cpp: frames and requests that wait for the engine
  bool has_to_queue(ClientSlot slot, Bytes frame, Actions& out);
  bool await_ready(u32 index, Actions& out);
  bool may_wait(u64 calls, Actions& out);
  u32 park();
  Waiter waiter();
  Findings* findings();
  void end_waiting(std::span<const Waiter> waiters, Actions& out);
  void run_parked(u32 id, Actions& out);
  void run_blocked(Actions& out);
  void unpark(u32 id, Actions& out);
  void wait_until(Millis at);
  bool fail_if_refused(Actions& out);
  void fail(ErrorCode code, const char* text, Actions& out);

  // hub_resync.cpp: after a shard has come back
  void sync(u32 index, Actions& out);
  void on_synced(u32 index, const input::EngineAnswer& in, Actions& out);
  void begin_epoch_of_tokens(u32 index, u64 at);
  void rejoin(u32 index, Actions& out);
  void call_rejoin(Call call, Actions& out);
  void note_recovery(const Call& call);
  void catch_up(const Call& joined, bool is_joined, Actions& out);
  void on_caught_up(const Call& call, const input::EngineAnswer& in, Actions& out);
  static bool is_resource(Bytes topic) { return topic.starts_with("resource:"); }
  void tell_changed(TopicId topic, Actions& out);
  void tell_all(u32 index, Actions& out);
  void settle(u32 index);
  u64 position() const { return engine.is_on() ? engine.position() : stamps.position(); }

  // hub_forwards.cpp: forwards and their answers
  void on_forward_done(const input::ForwardDone& in, Actions& out);
  void on_forward_timeout(u32 flight, Actions& out);
  void end_message(const Forwards::Flight& flight, const input::ForwardDone& in, Actions& out);
  void tell_sender(ClientSlot slot, u64 id, Bytes channel, Bytes params,
                   const input::ForwardDone& in, Actions& out);
  void end_flight(const Forwards::Flight& flight, Actions& out);
  u32 in_flight_max() const {
    return config.forward_concurrent != 0 ? config.forwards_waiting_max : 1;
  }

  // hub_http.cpp: requests from the app server
  void on_http_request(const input::HttpRequest& in, Actions& out);
  void run_request(Route route, RequestId request, Bytes body, Actions& out);
  bool reject_if_wrong(const std::string& wrong, RequestId request, Actions& out);
  void on_connection(RequestId request, Bytes body, Actions& out);
  void on_resources(RequestId request, Bytes body, Actions& out);
  void on_channel_message(RequestId request, Bytes body, Actions& out);
  void on_health(const input::HttpRequest& in, Actions& out);
  void on_ready(const input::HttpRequest& in, Actions& out);
  void on_metrics(const input::HttpRequest& in, Actions& out);
  bool is_ready() const { return !is_stopping() && !is_engine_away(); }
  bool is_stopping() const { return drain.is_on || is_shutting_down; }
  bool is_engine_away() const;

  // hub_metrics.cpp: GET /metrics
  void append_metrics(std::string& out) const;
  Metrics measured() const;

  // admission.cpp: what may be asked for, before a body is read
  Verdict admit(const input::HttpRequest& in) const;
  Refusal refusal_of(const input::HttpRequest& in, const RouteEntry& entry) const;
  Refusal socket_refusal_of(const input::HttpRequest& in) const;
  bool is_authorized(Bytes authorization) const;
  bool is_origin_allowed(Bytes origin) const;

  // hub_restore.cpp: after a restart or wake
  void on_restore_token(const input::RestoreToken& in, Actions& out);
  void on_restore_client(const input::RestoreClient& in, Actions& out);
  void settle_restored(Actions& out);
  void on_not_stored(const input::NotStored& in, Actions& out);

  // state_hash.cpp
  u64 hash() const;

  // emit.cpp. What a peer is told is counted in the first three.
  void emit(const action::Send& it, Actions& out);
  void emit(const action::Respond& it, Actions& out);
  void emit(const action::Close& it, Actions& out);
  void emit_put_token(TokenId id, Actions& out);
  void emit_taken_token(TokenId id, Actions& out);
  void emit_touch_token(TokenId id, Actions& out);
  void emit_erase_token(Bytes key, bool is_told, Actions& out);
  void emit_attach(ClientSlot slot, ClientChange change, std::span<const Bytes> names,
                   Actions& out);
  void emit_attach_whole(ClientSlot slot, bool is_durable, Actions& out);
  void emit_publish(const std::vector<u32>& subscribers, Bytes text, Actions& out);
  void emit_to(ClientId client, Bytes text, Actions& out, ErrorCode code = ErrorCode::ok);
  void emit_reply(ClientSlot slot, Actions& out, ErrorCode code = ErrorCode::ok);
  void emit_error(ClientSlot slot, u64 id, Blame blame, Bytes channel, Bytes params, Bytes message,
                  ErrorCode code, Actions& out, bool says_hello = false);
  void emit_refusal(ClientSlot slot, Blame blame, const Scope& scope, Bytes message, ErrorCode code,
                    Actions& out);
  void emit_close(ClientSlot slot, u32 status, ErrorCode why, Bytes reason, Actions& out);
  void emit_respond(RequestId request, u32 status, ErrorCode code, Bytes body, Actions& out,
                    Bytes header = "");
  void emit_unauthorized(RequestId request, const Refusal& refusal, Actions& out);
};

}  // namespace sidekick
