// Clients that say hello: docs/protocol.md, "Clients that say hello".
#include <algorithm>

#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

void Model::begin(Millis now, u64 epoch) {
  now_ = clock_ = now;
  epoch_ = {epoch, 0};
  is_epoch_restored_ = false;
  is_epoch_recorded_ = true;
  last_stamp_ = 0;
  is_log_on_ = false;
  log_.clear();
  log_bytes_ = history_bytes_ = 0;
  sessions_left_at_ = 0;
  recorded_.assign(recorded_.size(), Recorded{});
  left_.clear();
  ++hubs_started_;
  started_at_ = 0;
}

/// The time of stamps. A new epoch begins if the clock has stepped back by more than a second.
void Model::pass_clock(Millis now) {
  now += epoch_.ahead_ms;
  if (now + 1000 < clock_) {
    epoch_.ahead_ms += clock_ - now;
    is_epoch_recorded_ = false;
  }
  clock_ = std::max(clock_, now);
}

/// All records name the epoch.
void Model::record_epoch() {
  if (is_epoch_recorded_) return;
  is_epoch_recorded_ = true;
  for (u32 client = 0; client < clients_.size(); ++client) {
    if (clients_[client].is_open && has_session(client)) attach_whole(client, false);
  }
}

/// The next stamp less 1.
u64 Model::position() const { return std::max(last_stamp_, clock_ * 1000 - 1); }

namespace {

/// `"name": "value"` at the start of `line`, which is removed; empty if it is not there.
Bytes take_member(Bytes& line, Bytes name) {
  if (!line.starts_with(name)) return {};
  const Bytes value = line.substr(name.size(), line.find('"', name.size()) - name.size());
  line.remove_prefix(name.size() + value.size() + Bytes("\", ").size());
  return value;
}

EpochFacts epoch_of(Bytes text) {
  EpochFacts epoch;
  const Bytes hub = text.substr(0, text.find('.'));
  for (const char c : hub)
    epoch.hub = epoch.hub * 36 + static_cast<u64>(c <= '9' ? c - '0' : c - 'a' + 10);
  for (const char c : text.substr(std::min(hub.size() + 1, text.size())))
    epoch.ahead_ms = epoch.ahead_ms * 10 + static_cast<u64>(c - '0');
  return epoch;
}

}  // namespace

/// { "session": "...", "epoch": "k3f9a2", "tokens": ...: the hub goes on with the latest epoch.
void Model::read_greeting(Bytes line, ClientFacts& client) {
  const Bytes session = take_member(line, "{ \"session\": \"");
  const Bytes name = take_member(line, "\"epoch\": \"");
  if (session.empty() || name.empty()) return;
  const auto at = std::find(words_.sessions.begin(), words_.sessions.end(), session);
  client.session = static_cast<u16>(at - words_.sessions.begin());
  const EpochFacts epoch = epoch_of(name);
  const bool is_later =
      std::pair(epoch.ahead_ms, epoch.hub) > std::pair(epoch_.ahead_ms, epoch_.hub);
  if (is_epoch_restored_ && epoch != epoch_) is_epoch_recorded_ = false;
  if (!is_epoch_restored_ || is_later) {
    clock_ += epoch.ahead_ms - epoch_.ahead_ms;
    epoch_ = epoch;
  }
  is_epoch_restored_ = true;
  last_stamp_ = (clock_ + 1) * 1000;  // the hub before may have stamped in this millisecond
}

void Model::take_hello(const Op& op) {
  ClientFacts& client = clients_[op.client];
  if (client.session != no_one || !client.tokens.empty() || !client.resources.empty()) {
    return refuse(op, "client", ErrorCode::shape,
                  "\"hello\" comes too late: this connection has a session, token or resource",
                  false, false);
  }
  u32 old = 0;
  while (old < clients_.size() && (!clients_[old].is_open || clients_[old].session != op.session))
    ++old;
  settle_log();
  start_log();
  client.session = op.session;
  if (old < clients_.size()) take_over(old, op.client);
  attach_whole(op.client, true);

  begin_text();
  text += "{ \"type\": \"listening\"";
  append_id(op.client, op.id);
  text += ", \"resources\": [], \"welcome\": { \"version\": 1, \"epoch\": \"";
  append_epoch(text, epoch_);
  text += "\"";
  append_at(op.client);
  text.append(", \"spread_ms\": ")
      .append(Digits(std::clamp<u32>(2 * client_count_, 1000, 60000)))
      .append(", \"frame_bytes_max\": ")
      .append(Digits(config_->frame_bytes_max))
      .append(" } }");
  end_text(add(EffectKind::send, op.client));
}

/// No row changes, and no other client can take a token.
void Model::take_over(u32 from, u32 to) {
  verdict_ = Checker::takeover;
  clients_[to].tokens = std::move(clients_[from].tokens);
  clients_[from].tokens.clear();
  for (const u32 token : clients_[to].tokens) {
    tokens_[token].holder = to;
    if (tokens_[token].hold != Hold::subscribed) continue;
    subscribe(tokens_[token].scope, to);
    unsubscribe(tokens_[token].scope, from);
  }
  drop(from, 4000, ErrorCode::taken_over, "taken over by a new connection of this session");
}

/// Whether the hub looks at the id of this message.
bool Model::is_extended(const Op& op) const {
  return op.kind == OpKind::frame && (has_session(op.client) || says_hello(op));
}

void Model::append_id(u32 client, u64 id) {
  if (has_session(client) && id != 0) text.append(", \"id\": ").append(Digits(id));
}

void Model::append_at(u32 client) {
  if (!has_session(client)) return;
  text.append(", \"at\": ").append(Digits(position()));
  std::vector<Told>& told = told_[clients_[client].session];
  if (told.size() == told_max) told.erase(told.begin());
  told.push_back({epoch_, position(), published_, hubs_started_});
}

u32 Model::session_count() const {
  return static_cast<u32>(
      std::count_if(clients_.begin(), clients_.end(),
                    [](const ClientFacts& it) { return it.is_open && it.session != no_one; }));
}

u32 Model::subscriber_count(u32 topic, Audience audience) const {
  if (audience == Audience::all) return subscriber_counts_[topic];
  u32 count = 0;
  for (u32 client = 0; client < clients_.size(); ++client)
    count += is_subscribed(topic, client) && is_in(audience, client) ? 1 : 0;
  return count;
}

void Model::attach_whole(u32 client, bool is_durable) {
  begin_text();
  append_client_record(text, client);
  Effect& effect = add(EffectKind::attach, client);
  effect.status = 2;
  effect.is_durable = is_durable;
  end_text(effect);
}

/// The id in an error: 0 if it could not be read.
u64 Model::told_id(const Op& op, ErrorCode code) const {
  switch (flaw_of(op)) {
    case Flaw::array:
    case Flaw::garbage:
    case Flaw::id_zero:
    case Flaw::id_text:
    case Flaw::id_large:
    case Flaw::again_alone:
      return 0;
    case Flaw::padded:
      // Of a message that is refused unread only type and id are read, at its beginning.
      return code == ErrorCode::rate || is_oversized_ ? 0 : op.id;
    default:
      return op.id;
  }
}

}  // namespace sidekick::sim
