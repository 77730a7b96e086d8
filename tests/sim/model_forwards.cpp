// Forwards and their answers: docs/protocol.md, "Sidekick to app server: forwards".
#include <algorithm>

#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

namespace {

constexpr u32 each_bytes = 128;  // counted for a message in addition to body, channel and params

}  // namespace

void Model::append_forward_body(const Message& message) {
  text += "{ ";
  append_scope(message.scope, message.order);
  if (message.data.shape != Shape::absent)
    append_payload(text.append(", \"data\": "), message.data);
  if (message.context.shape != Shape::absent)
    append_payload(text.append(", \"context\": "), message.context);
  text += " }";
}

void Model::forward(const Op& op) {
  TokenFacts& token = tokens_[op.token];
  Message message{op.serial,
                  token.scope,
                  token.order,
                  op.client,
                  clients_[op.client].generation,
                  op.payload,
                  token.context,
                  0,
                  has_session(op.client) ? op.id : 0};
  const std::size_t before = text.size();
  append_forward_body(message);
  const std::size_t body_bytes = text.size() - before;
  text.resize(before);
  const ScopeWords& scope = words_.scopes[token.scope];
  message.cost =
      static_cast<u32>(body_bytes + scope.channel.literal.size() + scope.params_text[0].size()) +
      each_bytes;

  const Lane* lane = token.lane == nobody ? nullptr : &lanes_[token.lane];
  const u32 in_flight_max = config_->forward_concurrent != 0 ? config_->forwards_waiting_max : 1;
  const auto refuse_limit = [&](ErrorCode code, const char* reason) {
    verdict_ = Checker::limits;
    refuse(op, "sidekick", code, reason, true, true);
  };
  if (lane != nullptr && lane->in_flight >= in_flight_max &&
      lane->waiting.size() >= config_->forwards_waiting_max) {
    return refuse_limit(
        ErrorCode::queue,
        "message queue of this token is full (forwards_waiting_max); the message was not "
        "forwarded");
  }
  if (lane != nullptr && lane->bytes + message.cost > config_->forward_bytes_per_token_max) {
    return refuse_limit(
        ErrorCode::queue,
        "message queue of this token is full (forward_bytes_per_token_max); the message was not "
        "forwarded");
  }
  if (forward_bytes_ + message.cost > config_->forward_store_bytes_max) {
    return refuse_limit(
        ErrorCode::full,
        "message queue of this Sidekick is full (forward_store_bytes_max); the message was not "
        "forwarded");
  }

  if (token.hold == Hold::free) {
    hold(op);
    touch(op.token);
    attach_token(op.client, "tokens", op.token);
  }
  if (token.lane == nobody) {
    u32 index = 0;
    while (index < lanes_.size() && lanes_[index].is_used) ++index;
    if (index == lanes_.size()) lanes_.emplace_back();
    lanes_[index].is_used = true;
    lanes_[index].token = op.token;
    token.lane = index;
    ++lane_count_;
  }
  Lane& own = lanes_[token.lane];
  own.bytes += message.cost;
  forward_bytes_ += message.cost;
  if (own.in_flight < in_flight_max) {
    start(token.lane, message);
  } else {
    own.waiting.push_back(message);
  }
}

void Model::start(u32 lane, const Message& message) {
  ++lanes_[lane].in_flight;
  Flight flight{0, lane, now_ + config_->forward_timeout_ms, message};
  wait_until(flight.gives_up_at);
  begin_text();
  append_forward_body(message);
  Effect& effect = add(EffectKind::forward, lane);
  effect.status = static_cast<u32>(flights_.size());
  end_text(effect);
  flights_.push_back(flight);
}

/// Ignores the answer to a flight that timed out, or to one of an earlier hub.
void Model::answer(const Op& op) {
  const auto flight = std::find_if(flights_.begin(), flights_.end(), [&](const Flight& it) {
    return it.message.serial == op.serial;
  });
  for (const Ghost& ghost : ghosts_) {
    if (ghost.serial == op.serial && ghost.is_of_earlier_hub) verdict_ = Checker::own_hub;
  }
  if (flight == flights_.end()) return;
  switch (op.reply) {
    case Reply::done:
      break;
    case Reply::client_fault:
      fail(flight->message, "client", ErrorCode::app, "no \"entry\"");
      break;
    case Reply::server_fault:
      fail(flight->message, "server", ErrorCode::app, "broken");
      break;
    case Reply::sidekick_fault:
      fail(flight->message, "sidekick", ErrorCode::app, "");
      break;
    case Reply::edge_fault:
      fail(flight->message, "client", ErrorCode::app,
           std::string(edge_message_bytes(*config_), 'm'));
      break;
    case Reply::long_fault:
    case Reply::odd_fault:
    case Reply::half_fault:
    case Reply::number_fault:
    case Reply::list:
    case Reply::trailing:
    case Reply::garbage:
      fail(flight->message, "server", ErrorCode::app_status,
           compose({"the app server answered ", Digits(status_of(op)),
                    "; expected 2xx or { fault, message }"}));
      break;
    case Reply::unreachable:
      fail(flight->message, "server", ErrorCode::app_unreachable,
           "the app server could not be reached; the message was not processed");
      break;
    case Reply::no_app_server:
      fail(flight->message, "server", ErrorCode::app_unreachable,
           "no app server is configured for this Sidekick; the message was not processed");
      break;
    case Reply::broken_off:
      fail(flight->message, "server", ErrorCode::app_broken,
           "the app server closed the connection without an answer; the message may have been "
           "processed");
      break;
    case Reply::host_timeout:
      fail_timeout(flight->message);
      break;
    case Reply::count:
      trap();
  }
  end_flight(static_cast<u32>(flight - flights_.begin()));
}

void Model::expire_flights() {
  for (;;) {
    // The oldest one; among equals the one that left first.
    u32 first = nobody;
    for (u32 i = 0; i < flights_.size(); ++i) {
      if (flights_[i].gives_up_at <= now_ &&
          (first == nobody || flights_[i].gives_up_at < flights_[first].gives_up_at))
        first = i;
    }
    if (first == nobody) return;
    fail_timeout(flights_[first].message);
    add(EffectKind::cancel, flights_[first].lane).expires_at = flights_[first].id;
    if (ghosts_.size() == ghosts_max) ghosts_.erase(ghosts_.begin());
    ghosts_.push_back({flights_[first].message.serial, flights_[first].id});
    end_flight(first);
  }
}

void Model::fail_timeout(const Message& message) {
  fail(message, "server", ErrorCode::app_timeout,
       compose({"the app server did not answer within ", Digits(config_->forward_timeout_ms),
                " ms (forward_timeout_ms); the message may have been processed"}));
}

/// Starts the next message of its lane.
void Model::end_flight(u32 index) {
  const Flight flight = flights_[index];
  flights_.erase(flights_.begin() + index);
  for (Effect& effect : effects) {
    if (effect.kind == EffectKind::forward && effect.status > index) --effect.status;
  }
  Lane& lane = lanes_[flight.lane];
  --lane.in_flight;
  lane.bytes -= flight.message.cost;
  forward_bytes_ -= flight.message.cost;
  if (!lane.waiting.empty()) {
    const Message next = lane.waiting.front();
    lane.waiting.erase(lane.waiting.begin());
    start(flight.lane, next);
  }
  if (lane.in_flight > 0) return;
  if (lane.token != nobody) tokens_[lane.token].lane = nobody;
  lane = Lane{};
  --lane_count_;
}

/// Only the sender, if still connected, receives the error.
void Model::fail(const Message& message, const char* fault, ErrorCode code, Bytes pattern) {
  const ClientFacts& sender = clients_[message.sender];
  if (!sender.is_open || sender.generation != message.generation) return;
  begin_text();
  text += "{ \"type\": \"error\", \"error\": { ";
  append_scope(message.scope, message.order);
  end_error(message.sender, fault, code, pattern, message.id);
}

}  // namespace sidekick::sim
