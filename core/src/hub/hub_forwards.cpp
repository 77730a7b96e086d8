// Forwards: a client's message to the app server, and the answer back.
#include "hub/state.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

/// The error for a message's sender: the app server's { fault, message }, or a text of the hub.
struct ServerError {
  Blame blame = Blame::server;
  std::string message;
  ErrorCode code = ErrorCode::app;
};

bool decode_server_error(Bytes body, u32 depth_max, ServerError& out) {
  ion::Reader reader(body, depth_max);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object) return false;
  reader.enter_object();
  ion::Slice key;
  bool has_fault = false;
  bool has_message = false;
  while (reader.next_member(key)) {
    ion::Slice value;
    if (!reader.read(value)) return false;
    if (value.kind != ion::Kind::string) continue;
    if (key.raw == "fault") {
      has_fault = true;
      if (value.raw == "client") {
        out.blame = Blame::client;
      } else if (value.raw == "server") {
        out.blame = Blame::server;
      } else if (value.raw == "sidekick") {
        out.blame = Blame::sidekick;
      } else {
        return false;
      }
    } else if (key.raw == "message") {
      has_message = true;
      out.message.clear();
      ion::append_decoded(out.message, value.raw);
    }
  }
  return reader.finish() && has_fault && has_message;
}

}  // namespace

bool is_success(const input::ForwardDone& in) {
  return in.outcome == static_cast<u32>(Outcome::answered) && in.status >= 200 && in.status < 300;
}

void Hub::State::on_forward_done(const input::ForwardDone& in, Actions& out) {
  const Forwards::Flight flight = forwards.finish(in.forward);
  if (flight.id == 0) return;  // given up, or of an earlier hub
  end_message(flight, in, out);
  end_flight(flight, out);
}

void Hub::State::on_forward_timeout(u32 flight_slot, Actions& out) {
  const Forwards::Flight flight = forwards.finish_slot(flight_slot);
  input::ForwardDone in;
  in.outcome = static_cast<u32>(Outcome::timed_out);
  end_message(flight, in, out);
  out.add(action::CancelForward{flight.id});
  end_flight(flight, out);
}

/// Records the outcome of a message and tells its sender. If the message has an id, the current
/// holder of the token is told: the client may have reconnected. So is a connection that has
/// repeated the message and does not hold the token any more.
void Hub::State::end_message(const Forwards::Flight& flight, const input::ForwardDone& in,
                             Actions& out) {
  constexpr std::size_t kept_body_bytes_max = 1024;
  metrics.count_forward(in, now - flight.started_at);
  const Forward& forward = flight.forward;
  Sender sender = forward.sender;
  const TokenId id = forward.message_id == 0 ? none : forwards.lane(flight.lane).token;
  const Sends* sends = id == none ? nullptr : tokens[id].sends();
  if (sends != nullptr && sends->serial() == forward.sends) {
    Sends::Ending ending{forward.message_id, in.status, in.outcome, {}};
    if (!is_success(in) && in.body.size() <= kept_body_bytes_max &&
        tokens.store_bytes() + in.body.size() <= config.token_store_bytes_max)
      ending.body.assign(in.body);
    tokens.end_send(id, std::move(ending));
    const ClientSlot holder = tokens[id].holder();
    if (is_held(tokens[id].state())) sender = {holder, clients[holder].serial};
  }
  const Sender repeater = forwards.take_repeat(flight.lane, forward);
  if (!clients.is_open(sender.slot, sender.serial)) sender = repeater;
  if (sender.slot == none || !clients.is_open(sender.slot, sender.serial)) return;
  tell_sender(sender.slot, forward.message_id, forward.channel(), forward.params(), in, out);
}

/// id: of the message; 0: none. Only a message with an id is acknowledged.
void Hub::State::tell_sender(ClientSlot slot, u64 id, Bytes channel, Bytes params,
                             const input::ForwardDone& in, Actions& out) {
  if (is_success(in)) {
    if (id == 0) return;
    append_id(out.text().write({"{ \"type\": \"sent\""}), id);
    return emit_reply(slot, out);
  }
  ServerError error;
  switch (static_cast<Outcome>(in.outcome)) {
    case Outcome::answered:
      if (in.body.size() <= config.forward_answer_bytes_max &&
          decode_server_error(in.body, config.depth_max, error))
        break;
      error = {};
      error.code = ErrorCode::app_status;
      append_form(error.message, "the app server answered %; expected 2xx or { fault, message }",
                  in.status);
      break;
    case Outcome::unreachable:
      error.code = ErrorCode::app_unreachable;
      error.message = "the app server could not be reached; the message was not processed";
      break;
    case Outcome::no_app_server:
      error.code = ErrorCode::app_unreachable;
      error.message =
          "no app server is configured for this Sidekick; the message was not processed";
      break;
    case Outcome::timed_out:
      error.code = ErrorCode::app_timeout;
      append_form(error.message,
                  "the app server did not answer within % ms (forward_timeout_ms); the message may "
                  "have been processed",
                  config.forward_timeout_ms);
      break;
    case Outcome::broken_off:
    default:
      error.code = ErrorCode::app_broken;
      error.message =
          "the app server closed the connection without an answer; the message may have been "
          "processed";
  }
  emit_error(slot, id, error.blame, channel, params, error.message, error.code, out);
}

/// Starts the next message of the lane, or closes the lane.
void Hub::State::end_flight(const Forwards::Flight& flight, Actions& out) {
  const Forwards::Lane& lane = forwards.lane(flight.lane);
  while (!lane.waiting.empty() && lane.in_flight < in_flight_max()) {
    Forward next = forwards.take_waiting(flight.lane);
    const Bytes body = out.text().copy(next.body);
    next.body = std::string();
    const ForwardId started =
        forwards.start(flight.lane, std::move(next), now, config.forward_timeout_ms);
    out.add(action::Forward{started, config.forward_timeout_ms, body});
  }
  if (!lane.is_done()) return;
  const TokenId token = lane.token;
  const std::string session = lane.session;
  if (token != none) tokens[token].lane = none;
  forwards.close_lane(flight.lane);
  // With an engine, its client has left before.
  const bool is_over = engine.is_on() && token != none && is_unclaimed(token);
  if (!is_over) return;
  release_claim(tokens[token].key(), session, config.token_resume_ms);
  emit_erase_token(tokens[token].key(), false, out);
  forget_token(token);
}

}  // namespace sidekick
