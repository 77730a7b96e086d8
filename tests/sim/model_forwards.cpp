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
                  has_session(op.client) ? op.id : 0,
                  0};
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

  if (message.id != 0 && token.sends.serial == 0 &&
      token_bytes_ + sends_bytes > config_->token_store_bytes_max) {
    return refuse_limit(
        ErrorCode::full,
        "token store is full (token_store_bytes_max); the message was not forwarded");
  }

  take_if_free(op);
  if (message.id != 0) begin_send(op, message);
  if (token.lane == nobody) {
    u32 index = 0;
    while (index < lanes_.size() && lanes_[index].is_used) ++index;
    if (index == lanes_.size()) lanes_.emplace_back();
    lanes_[index].is_used = true;
    lanes_[index].token = op.token;
    token.lane = index;
    ++lane_count_;
  }
  message.lane = token.lane;
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
  end_message(flight->message, op.reply, status_of(op));
  end_flight(static_cast<u32>(flight - flights_.begin()));
}

/// Tells the sender the outcome of its message.
void Model::say_ending(u32 client, const Message& message, Reply reply, u32 status) {
  const auto fail = [&](const char* fault, ErrorCode code, Bytes pattern) {
    begin_text();
    text += "{ \"type\": \"error\", \"error\": { ";
    append_scope(message.scope, message.order);
    end_error(client, fault, code, pattern, message.id);
  };
  if (message.id != 0) verdict_ = Checker::acks;
  switch (reply) {
    case Reply::done:
      if (message.id == 0) return;
      begin_text();
      text.append("{ \"type\": \"sent\", \"id\": ").append(Digits(message.id)).append(" }");
      return end_text(add(EffectKind::send, client));
    case Reply::client_fault:
      fail("client", ErrorCode::app, "no \"entry\"");
      break;
    case Reply::server_fault:
      fail("server", ErrorCode::app, "broken");
      break;
    case Reply::sidekick_fault:
      fail("sidekick", ErrorCode::app, "");
      break;
    case Reply::edge_fault:
      fail("client", ErrorCode::app, std::string(edge_message_bytes(*config_), 'm'));
      break;
    case Reply::long_fault:
    case Reply::odd_fault:
    case Reply::half_fault:
    case Reply::number_fault:
    case Reply::list:
    case Reply::trailing:
    case Reply::garbage:
      fail("server", ErrorCode::app_status,
           compose({"the app server answered ", Digits(status),
                    "; expected 2xx or { fault, message }"}));
      break;
    case Reply::unreachable:
      fail("server", ErrorCode::app_unreachable,
           "the app server could not be reached; the message was not processed");
      break;
    case Reply::no_app_server:
      fail("server", ErrorCode::app_unreachable,
           "no app server is configured for this Sidekick; the message was not processed");
      break;
    case Reply::broken_off:
      fail("server", ErrorCode::app_broken,
           "the app server closed the connection without an answer; the message may have been "
           "processed");
      break;
    case Reply::host_timeout:
      fail("server", ErrorCode::app_timeout,
           compose({"the app server did not answer within ", Digits(config_->forward_timeout_ms),
                    " ms (forward_timeout_ms); the message may have been processed"}));
      break;
    case Reply::count:
      trap();
  }
}

/// Tells the client that holds the token now, if the same session sent the message. Otherwise tells
/// the sender, if it is still connected.
void Model::end_message(const Message& message, Reply reply, u32 status) {
  u32 client = message.sender;
  bool is_there = clients_[client].is_open && clients_[client].generation == message.generation;
  const u32 token = message.id == 0 ? nobody : lanes_[message.lane].token;
  if (token != nobody && tokens_[token].sends.serial == message.sends && message.sends != 0) {
    TokenFacts& it = tokens_[token];
    std::string body;
    write_reply(body, reply, *config_);
    Ending ending{message.id, reply, status, static_cast<u32>(body.size())};
    // A long one is not kept, only that it was one.
    const bool is_kept = reply != Reply::done && body.size() <= kept_body_bytes_max &&
                         token_bytes_ + body.size() <= config_->token_store_bytes_max;
    if (!is_kept) ending.body_bytes = 0;
    if (!is_kept && status != 0 && reply != Reply::done) ending.reply = Reply::garbage;
    std::erase(it.sends.under_way, message.id);
    if (it.sends.endings.size() == endings_max) it.sends.endings.erase(it.sends.endings.begin());
    it.sends.endings.push_back(ending);
    recount_cost(token);
    if (it.hold == Hold::held || it.hold == Hold::subscribed) {
      client = it.holder;
      is_there = true;
    }
  }
  if (is_there) say_ending(client, message, reply, status);
}

void Model::expire_flights(Millis until) {
  for (;;) {
    // The oldest one; among equals the one that left first.
    u32 first = nobody;
    for (u32 i = 0; i < flights_.size(); ++i) {
      if (flights_[i].gives_up_at <= until &&
          (first == nobody || flights_[i].gives_up_at < flights_[first].gives_up_at))
        first = i;
    }
    if (first == nobody) return;
    end_message(flights_[first].message, Reply::host_timeout, 0);
    add(EffectKind::cancel, flights_[first].lane).expires_at = flights_[first].id;
    if (ghosts_.size() == ghosts_max) ghosts_.erase(ghosts_.begin());
    ghosts_.push_back({flights_[first].message.serial, flights_[first].id});
    end_flight(first);
  }
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

}  // namespace sidekick::sim
