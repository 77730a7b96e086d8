#include "crowd.hpp"

#include <algorithm>

#include "script.hpp"

namespace sidekick::sim {

Crowd::Crowd(const Swarm& swarm)
    : swarm_(swarm),
      dice_(swarm.seed ^ 0x63726f7764),
      greetings_(swarm.seed ^ 0x6772656574),
      drains_(swarm.seed ^ 0x647261696e),
      sent_(swarm.sessions),
      on_the_way_(swarm.clients) {}

u32 Crowd::draw(const u32* weights, u32 count) {
  u32 sum = 0;
  for (u32 i = 0; i < count; ++i) sum += weights[i];
  u32 at = dice_.below(sum);
  u32 i = 0;
  for (; i + 1 < count && at >= weights[i]; ++i) at -= weights[i];
  return i;
}

Op Crowd::op_of(OpKind kind) const {
  Op op;
  op.kind = kind;
  op.now = now_;
  return op;
}

/// Mostly a few ms; sometimes a long time, or just before, at or after the next deadline.
void Crowd::pass_time(const Trial& trial) {
  now_ += dice_.below(swarm_.span_max_ms + 1);
  if (swarm_.clock_step != 0 && greetings_.chance(swarm_.clock_step))
    now_ -= greetings_.below(3000);
  if (!dice_.chance(swarm_.jump)) return;
  const Millis due = trial.timer_at();
  if (due > now_ && due - now_ < 1'000'000 && dice_.chance(700)) {
    now_ = due - 1 + dice_.below(3);
  } else {
    now_ += dice_.below(swarm_.jump_max_ms);
  }
}

Op Crowd::next(const Trial& trial) {
  pass_time(trial);
  Op op;
  if (swarm_.drain != 0 && draw_drain(trial, op)) return op;
  if (trial.timer_at() != 0 && trial.timer_at() <= now_ && !dice_.chance(swarm_.timer_late)) {
    op = op_of(OpKind::timer);
  } else if (dice_.chance(swarm_.odd_timer)) {
    op = op_of(OpKind::timer);  // early, or twice
  } else {
    const auto kind = static_cast<OpKind>(draw(swarm_.op_weight, std::size(swarm_.op_weight)));
    const u16 client = static_cast<u16>(dice_.below(swarm_.clients));
    switch (kind) {
      case OpKind::open:
      case OpKind::frame:
        op = open_or_frame(trial, client);
        break;
      case OpKind::close:
        op = op_of(kind);
        if (dice_.chance(900))
          on_the_way_[client].clear();  // otherwise messages in transit still arrive
        break;
      case OpKind::lag:
        op = op_of(kind);
        op.serial = swarm_.configs[0].client_buffer_bytes_max - 1 + dice_.below(3);
        break;
      case OpKind::http:
        op = http(trial);
        break;
      case OpKind::answer:
        op = answer(trial);
        break;
      case OpKind::restart:
        op = restart();
        break;
      case OpKind::timer:
      case OpKind::shut_down:
      case OpKind::twin:
        op = op_of(kind);
        break;
      case OpKind::drain:
      case OpKind::restored:
      case OpKind::not_stored:
        trap();  // not drawn here
    }
    if (kind != OpKind::http && kind != OpKind::answer && kind != OpKind::restart)
      op.client = client;
  }
  if (dice_.chance(swarm_.cut)) op.cut = static_cast<u16>(dice_.below(4));
  if (dice_.chance(swarm_.fail)) {
    op.fail = static_cast<u16>(dice_.below(4));
    op.turn = static_cast<u8>(dice_.chance(500) ? 0 : dice_.below(turn_max + 1));
  }
  if (dice_.chance(swarm_.time_back)) op.now -= dice_.below(1000);
  return op;
}

Op Crowd::open_or_frame(const Trial& trial, u32 client) {
  if (!trial.has_socket(client) && dice_.chance(950)) return knock();
  std::deque<Op>& on_the_way = on_the_way_[client];
  if (on_the_way.empty()) {
    const u32 count = dice_.chance(swarm_.burst) ? dice_.between(2, swarm_.burst_max) : 1;
    const Op first = frame(trial, client);
    if (count == 1) return first;
    // A burst of equal messages, or several messages before the first is answered.
    const bool is_flood = dice_.chance(400);
    for (u32 i = 0; i < count; ++i) {
      on_the_way.push_back(is_flood ? first : frame(trial, client));
      on_the_way.back().serial = ++serial_;
    }
  }
  Op op = on_the_way.front();
  on_the_way.pop_front();
  op.now = now_;
  return op;
}

/// Mostly as a page of an allowed origin asks.
Op Crowd::knock() {
  Op op = op_of(OpKind::open);
  op.serial = ++serial_;
  op.origin = static_cast<u8>(dice_.chance(900) ? dice_.between(1, 5) : dice_.below(origin_count));
  for (u32 bit = 0; bit < knock_flaw_count; ++bit) {
    if (dice_.chance(swarm_.knock_flaw)) op.knock_flaws |= static_cast<u8>(1u << bit);
  }
  if (op.knock_flaws != 0) return op;
  if (dice_.chance(30)) op.knock = Knock::admitted_before;
  if (dice_.chance(10)) op.knock = Knock::not_accepted;
  return op;
}

/// Its own token, unless it attacks.
u16 Crowd::token_for(u32 client) {
  if (dice_.chance(swarm_.attack) || client >= swarm_.tokens)
    return static_cast<u16>(dice_.below(swarm_.tokens));
  const u32 own = (swarm_.tokens - client + swarm_.clients - 1u) / swarm_.clients;
  return static_cast<u16>(client + dice_.below(own) * swarm_.clients);
}

Op Crowd::frame(const Trial& trial, u32 client) {
  Op op = op_of(OpKind::frame);
  op.client = static_cast<u16>(client);
  op.verb = static_cast<Verb>(draw(swarm_.frame_weight, std::size(swarm_.frame_weight)));
  op.token = token_for(client);
  op.serial = ++serial_;
  op.order = static_cast<u8>(dice_.below(4));
  if (op.verb == Verb::send) {
    const TokenFacts& token = trial.model().tokens()[op.token];
    op.scope = token.hold == Hold::none ? home_of(op.token) : token.scope;
    if (dice_.chance(swarm_.attack / 4)) op.scope = static_cast<u16>(dice_.below(swarm_.scopes));
    op.payload = payload(true);
  }
  draw_resources(op, 5);
  draw_flaw(op);
  op.is_text = dice_.chance(900);
  if (swarm_.greeting != 0) draw_extension(trial, op);
  return op;
}

/// Mostly as a client of the extension behaves: hello first, then an id in every message.
void Crowd::draw_extension(const Trial& trial, Op& op) {
  const ClientFacts& client = trial.model().clients()[op.client];
  const bool has_said_hello = client.session != no_one;
  const bool is_new = !has_said_hello && client.tokens.empty() && client.resources.empty();
  if (greetings_.chance(is_new ? swarm_.greeting : 5)) {
    op.verb = Verb::listen;
    op.session =
        static_cast<u16>(greetings_.chance(swarm_.attack) ? greetings_.below(swarm_.sessions)
                                                          : op.client % swarm_.sessions);
    if (greetings_.chance(980)) op.count = 0;
  }
  if (greetings_.chance(has_said_hello || op.session != no_one ? 900 : 100))
    op.id = greetings_.chance(990) ? op.serial : number_max;
  if (has_said_hello && (op.verb == Verb::subscribe || op.verb == Verb::listen) &&
      greetings_.chance(swarm_.since))
    draw_position(trial, client.session, op);
  if (has_said_hello && op.verb == Verb::send) {
    std::deque<Op>& sent = sent_[client.session];
    if (!sent.empty() && greetings_.chance(swarm_.again)) {
      const Op& old = sent[greetings_.below(static_cast<u32>(sent.size()))];
      op.token = old.token;
      op.scope = old.scope;
      op.order = old.order;
      op.payload = old.payload;
      op.id = old.id;
      op.is_repeat = greetings_.chance(970);
    } else if (op.id != 0) {
      constexpr std::size_t sent_max = 40;  // more outcomes than the hub keeps
      if (sent.size() == sent_max) sent.pop_front();
      sent.push_back(op);
      op.is_repeat = greetings_.chance(20);
    }
  }
  if (greetings_.chance(swarm_.flaw / 2)) {
    constexpr u32 first = static_cast<u32>(Flaw::id_zero);
    op.flaw = static_cast<Flaw>(first + greetings_.below(static_cast<u32>(Flaw::count) - first));
  }
}

/// Mostly one that the session was told.
void Crowd::draw_position(const Trial& trial, u16 session, Op& op) {
  const u16 owner =
      greetings_.chance(950) ? session : static_cast<u16>(greetings_.below(swarm_.sessions));
  const std::vector<Told>& told = trial.model().told(owner);
  op.has_since = true;
  op.has_epoch = greetings_.chance(970);
  op.epoch = trial.model().epoch();
  if (told.empty()) return;
  // Rather an old one.
  const u32 at = std::min(greetings_.below(static_cast<u32>(told.size())),
                          greetings_.below(static_cast<u32>(told.size())));
  op.since = told[at].position;
  if (greetings_.chance(950)) op.epoch = told[at].epoch;
  if (greetings_.chance(30)) op.since += greetings_.below(3000000);
  if (greetings_.chance(30)) op.since -= greetings_.below(3000000);
  if (greetings_.chance(10)) op.since = number_max;
  if (greetings_.chance(10)) ++op.epoch.hub;
  if (greetings_.chance(10)) ++op.epoch.ahead_ms;
}

void Crowd::draw_flaw(Op& op) {
  if (dice_.chance(20)) op.flaw = Flaw::padded;
  if (dice_.chance(swarm_.flaw))
    op.flaw = static_cast<Flaw>(dice_.below(static_cast<u32>(Flaw::id_zero)));
}

void Crowd::draw_resources(Op& op, u32 usual_max) {
  op.first = static_cast<u16>(dice_.below(swarm_.resources));
  op.count = static_cast<u16>(dice_.below(usual_max));
  op.stride = static_cast<u16>(dice_.below(4));  // 0: the same one repeatedly
  if (dice_.chance(20)) op.count = static_cast<u16>(dice_.below(40));
}

Payload Crowd::payload(bool may_be_deep) {
  Payload payload;
  payload.shape = dice_.one_of<Shape>({Shape::absent, Shape::object, Shape::object, Shape::object,
                                       Shape::text, Shape::number, Shape::nested, Shape::rich});
  payload.serial = ++serial_;
  if (payload.shape == Shape::text)
    payload.size = static_cast<u16>(dice_.below(swarm_.payload_max));
  if (payload.shape == Shape::text && swarm_.payload_max >= 300 && dice_.chance(15)) {
    payload.size = static_cast<u16>(
        dice_.chance(500) ? dice_.between(4000, 4200)
                          : dice_.between(8000, 9000));  // larger than one or two chunks of text
  }
  if (payload.shape == Shape::nested) payload.size = static_cast<u16>(dice_.below(4));
  const u32 depth_max = swarm_.configs[0].depth_max;
  if (payload.shape == Shape::nested && may_be_deep && depth_max < 100)
    payload.size = static_cast<u16>(depth_max - 3 + dice_.below(5));
  return payload;
}

Op Crowd::http(const Trial& trial) {
  Op op = op_of(OpKind::http);
  constexpr Verb verbs[] = {Verb::connection, Verb::resources, Verb::message, Verb::health};
  op.verb = verbs[draw(swarm_.http_weight, std::size(verbs))];
  op.gate = dice_.chance(100) ? Gate::other_secret : Gate::open;
  if (dice_.chance(swarm_.gate))
    op.gate = static_cast<Gate>(dice_.below(static_cast<u32>(Gate::count)));
  op.token = static_cast<u16>(dice_.below(swarm_.tokens));
  for (u32 tries = 0; tries < 3 && trial.model().tokens()[op.token].hold != Hold::none; ++tries) {
    op.token = static_cast<u16>(dice_.below(swarm_.tokens));
  }
  op.scope = op.verb == Verb::connection && dice_.chance(800)
                 ? home_of(op.token)
                 : static_cast<u16>(dice_.below(swarm_.scopes));
  op.order = static_cast<u8>(dice_.below(4));
  op.serial = ++serial_;
  op.payload = payload(true);
  draw_resources(op, 6);
  if (!is_probe(op.verb)) draw_flaw(op);
  if (op.verb == Verb::health && op.serial % 4 == 0) op.verb = Verb::ready;
  return op;
}

Op Crowd::answer(const Trial& trial) {
  Op op = op_of(OpKind::answer);
  const auto& flights = trial.model().flights();
  const auto& ghosts = trial.model().ghosts();
  if (!ghosts.empty() && dice_.chance(100)) {
    op.serial = ghosts[dice_.below(static_cast<u32>(ghosts.size()))].serial;  // too late
  } else if (!flights.empty()) {
    op.serial = flights[dice_.below(static_cast<u32>(flights.size()))].message.serial;
  }
  op.reply = static_cast<Reply>(draw(swarm_.reply_weight, std::size(swarm_.reply_weight)));
  const bool is_long = op.reply == Reply::long_fault || op.reply == Reply::edge_fault;
  if (is_long && swarm_.configs[0].forward_answer_bytes_max > 1024 && dice_.chance(990))
    op.reply = Reply::garbage;
  return op;
}

/// A host drains, and another process takes its place some time after the end; sometimes it begins
/// again meanwhile, or with no time at all.
bool Crowd::draw_drain(const Trial& trial, Op& op) {
  const bool is_on = trial.drained_at() != 0;
  if (is_on && now_ >= trial.drained_at() && drains_.chance(100)) {
    op = op_of(OpKind::restart);
    op.restart = Restart::reset;
    op.serial = static_cast<u32>(drains_.next());
    return true;
  }
  if (!drains_.chance(is_on ? 1 : swarm_.drain)) return false;
  op = op_of(OpKind::drain);
  op.serial = drains_.one_of<u32>({0, 1, 4, 60, 300, 2000, 2000, 20000});
  return true;
}

Op Crowd::restart() {
  Op op = op_of(OpKind::restart);
  op.restart = static_cast<Restart>(draw(swarm_.restart_weight, std::size(swarm_.restart_weight)));
  op.client = static_cast<u16>(dice_.below(swarm_.clients));
  op.serial = static_cast<u32>(dice_.next());
  op.config = dice_.chance(300) ? 1 : 0;
  return op;
}

bool Crowd::leave(const Trial& trial, Op& op) {
  for (std::deque<Op>& on_the_way : on_the_way_) on_the_way.clear();
  for (u32 client = 0; client < swarm_.clients; ++client) {
    if (!trial.has_socket(client)) continue;
    op = op_of(OpKind::close);
    op.client = static_cast<u16>(client);
    return true;
  }
  // The timer alone must be enough.
  if (trial.timer_at() != 0) {
    now_ = std::max(now_, trial.timer_at());
    op = op_of(OpKind::timer);
    return true;
  }
  return false;
}

}  // namespace sidekick::sim
