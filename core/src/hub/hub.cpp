// One input, one call, every consequence in order.
#include "sidekick/hub.hpp"

#include "hub/state.hpp"

namespace sidekick {

Hub::Hub(Config config) : state_(std::make_unique<State>(std::move(config))) {}
Hub::~Hub() = default;

void Hub::handle(Millis now, const Input& input, Actions& out) {
  State& state = *state_;
  out.clear();
  if (now > state.now) state.now = now;
  state.stamps.pass(now);
  if (input.tag == InputTag::begin) return state.on_begin(input.begin);
  if (input.tag == InputTag::restore_token) return state.on_restore_token(input.restore_token, out);
  if (input.tag == InputTag::restore_client)
    return state.on_restore_client(input.restore_client, out);

  if (!state.config.has_heartbeats()) state.pass_time();
  state.settle_restored(out);
  // Close first, then expire, then react: nothing is sent to a closed client, and everything due
  // has expired, even if the timer fires late.
  if (input.tag == InputTag::client_closed) state.on_client_closed(input.client_closed, out);
  if (!state.stamps.is_recorded()) [[unlikely]]
    state.record_epoch(out);
  state.expire_due(out);
  switch (input.tag) {
    case InputTag::client_opened:
      state.on_client_opened(input.client_opened, out);
      break;
    case InputTag::client_frame:
      state.on_client_frame(input.client_frame, out);
      break;
    case InputTag::client_lagging:
      state.on_client_lagging(input.client_lagging, out);
      break;
    case InputTag::http_request:
      state.on_http_request(input.http_request, out);
      break;
    case InputTag::forward_done:
      state.on_forward_done(input.forward_done, out);
      break;
    case InputTag::timer_fired:
      state.timer_at = 0;
      break;
    case InputTag::shutting_down:
      state.is_shutting_down = true;
      break;
    case InputTag::draining:
      state.on_draining(input.draining, out);
      break;
    case InputTag::not_stored:
      ++state.metrics[Metric::storage_failures];
      state.on_not_stored(input.not_stored, out);
      break;
    case InputTag::restored:
      if (!state.config.has_heartbeats()) state.hand_over_free_tokens();
      break;
    case InputTag::client_closed:
      break;  // done above
    case InputTag::engine_up:
      state.on_engine_up(input.engine_up, out);
      break;
    case InputTag::engine_down:
      ++state.metrics[Metric::engine_losses];
      state.on_engine_down(input.engine_down, out);
      break;
    case InputTag::engine_answer:
      ++state.metrics[input.engine_answer.status == 0 ? Metric::engine_done
                                                      : Metric::engine_refused];
      state.on_engine_answer(input.engine_answer, out);
      break;
    case InputTag::engine_message:
      ++state.metrics[Metric::engine_messages];
      state.on_engine_message(input.engine_message, out);
      break;
    case InputTag::begin:
    case InputTag::restore_token:
    case InputTag::restore_client:
      trap();  // handled above
  }
  for (u32 i = 0; i < state.engine.shard_count(); ++i) state.flush_releases(i, out);
  state.arm_timer(out);
}

const Config& Hub::config() const { return state_->config; }
u64 Hub::state_hash() const { return state_->hash(); }
u64 Hub::state_size() const {
  constexpr u64 thing_bytes =
      64;  // a subscription costs slightly more, a token or message several times as much
  return state_->clients.count() + (state_->tokens.store_bytes() + state_->topics.store_bytes() +
                                    state_->forwards.store_bytes()) /
                                       thing_bytes;
}

void Hub::State::on_begin(const input::Begin& in) {
  const u64 epoch = in.epoch & number_max;
  forwards.begin(epoch);
  if (begin_epoch != 0) return;
  begin_epoch = epoch;
  stamps.begin(epoch);
}

void Hub::State::expire_due(Actions& out) {
  while (!deadlines.empty() && deadlines.soonest().at <= now) {
    const Deadlines::Entry due = deadlines.soonest();
    switch (due.due) {
      case Due::token_expiry:
        expire_token(due.owner, out);
        break;
      case Due::forward_timeout:
        on_forward_timeout(due.owner, out);
        break;
      case Due::topic_linger:
        end_linger(due.owner, out);
        break;
      case Due::parked_expiry:
        run_parked(due.owner, out);
        break;
      case Due::reclaim:
        reclaim(due.owner, out);
        break;
      case Due::resync:
        tell_all(due.owner, out);
        break;
      case Due::drain_slice:
        on_drain_slice(out);
        break;
    }
  }
}

void Hub::State::expire_token(TokenId id, Actions& out) {
  if (engine.is_on() && tokens[id].lane != none) {
    // No other hub may have it until the app server has answered.
    tokens.prolong(id, now + config.engine_keep_ms);
    return emit_touch_token(id, out);
  }
  ++metrics[Metric::tokens_expired];
  emit_erase_token(tokens[id].key(), false, out);
  forget_token(id);
}

/// A timer that is set too early stays set: it fires, finds nothing due, and is set again. So the
/// host's timer (a storage write in a Durable Object) is touched once for many short-lived
/// deadlines.
void Hub::State::arm_timer(Actions& out) {
  if (deadlines.empty()) return;
  const Millis at = deadlines.soonest().at;
  if (timer_at != 0 && timer_at <= at) return;
  timer_at = at;
  out.add(action::SetTimer{at});
}

void Hub::State::on_client_opened(const input::ClientOpened& in, Actions& out) {
  ++metrics[Metric::clients_opened];
  if (clients.count() >= config.clients_max) {
    // Only where sockets were admitted before others had opened.
    emit(action::Close{in.client, 1013, "connection limit reached (clients_max); try again later",
                       ErrorCode::full},
         out);
    return;
  }
  const ClientSlot slot = clients.open(in.client);
  Client& client = clients[slot];
  client.frame_credit = static_cast<u64>(config.frames_burst) * 1000;
  client.credited_at = now;
  if (drain.is_on) emit_drained(slot, out);  // admitted before the drain
}

void Hub::State::on_client_closed(const input::ClientClosed& in, Actions& out) {
  const ClientSlot slot = clients.find(in.client);
  if (slot == none) return;  // the hub itself has closed it
  ++metrics[Metric::clients_closed_by_peer];
  drop_client(slot, out);
}

void Hub::State::on_client_lagging(const input::ClientLagging& in, Actions& out) {
  const ClientSlot slot = clients.find(in.client);
  if (slot == none || in.buffered_bytes <= config.client_buffer_bytes_max) return;
  emit_close(slot, 1013, ErrorCode::slow,
             "client reads too slowly: send buffer limit exceeded (client_buffer_bytes_max)", out);
}

/// Only the tokens of a closed client remain, free for the time in which it may come back.
void Hub::State::drop_client(ClientSlot slot, Actions& out) {
  const Client& client = clients[slot];
  for (const TokenId id : client.tokens) {
    if (tokens[id].state() == TokenState::subscribed) {
      leave_channel(tokens[id].topic_id, slot);
    }
    if (engine.is_on()) {
      let_go(id, out);
    } else if (config.token_resume_ms == 0) {
      emit_erase_token(tokens[id].key(), false, out);
      forget_token(id);
    } else {
      tokens.release(id, now + config.token_resume_ms);
      emit_touch_token(id, out);
    }
  }
  for (const TopicId topic : client.resources) {
    topics.unsubscribe(topic, client.id);
    release_topic(topic);
  }
  if (client.parked != none) unpark(client.parked, out);
  const bool had_session = clients.has_session(slot);
  clients.close(slot);
  if (had_session && clients.session_count() == 0) sessions_left_at = now;
}

}  // namespace sidekick
