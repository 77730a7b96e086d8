// What clients that come back may ask for: docs/protocol.md, "What has changed", "Missed messages"
// and "Sends". Nothing of it survives a restart.
#include <algorithm>

#include "model.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"

namespace sidekick::sim {

/// Whether this hub may have told this position.
bool Model::is_known(const Op& op) const {
  return op.has_since && op.has_epoch && has_session(op.client) && op.epoch == epoch_ &&
         op.since <= position() + 1 + 1'000'000;
}

u64 Model::position_before(Millis ms) const { return clock_ > ms ? (clock_ - ms) * 1000 - 1 : 0; }

/// Whatever was published before has a stamp, logged or not, so no position told then is as late.
void Model::start_log() {
  if (is_log_on_) return;
  is_log_on_ = true;
  log_floor_ = position();
}

/// Returns whether it goes on.
bool Model::settle_log() {
  if (!is_log_on_ || session_count() > 0 || config_->listen_lookback_ms != 0 ||
      now_ - sessions_left_at_ < config_->change_log_ms)
    return is_log_on_;
  is_log_on_ = false;
  log_.clear();
  log_bytes_ = 0;
  return false;
}

void Model::log_change(u32 resource, u64 at) {
  constexpr u32 each_bytes = 64;
  const auto cost = [&](u32 of) { return words_.resources[of].bytes.size() + each_bytes; };
  const auto was =
      std::erase_if(log_, [resource](const Change& it) { return it.resource == resource; });
  if (was == 0) log_bytes_ += cost(resource);
  log_.push_back({resource, at});
  while (log_bytes_ > config_->change_log_bytes_max) {
    log_floor_ = log_.front().at;
    log_bytes_ -= cost(log_.front().resource);
    log_.erase(log_.begin());
  }
}

u64 Model::changed_at(u32 resource) const {
  for (const Change& it : log_) {
    if (it.resource == resource) return it.at;
  }
  return 0;
}

void Model::say_updated(u32 client, u32 resource) {
  begin_text();
  text.append("{ \"type\": \"updated\", \"resource\": ")
      .append(words_.resources[resource].literal)
      .append(" }");
  end_text(add(EffectKind::send, client));
}

/// When its session was told this position for the first time. Not if a hub before has told it, but
/// it is later than the start of this one: then the clock has stepped back between the two, or both
/// were started in one millisecond, and nobody can know.
const Told* Model::find_told(const Op& op) const {
  for (const Told& told : told_[clients_[op.client].session]) {
    if (told.position != op.since || told.epoch != op.epoch) continue;
    if (told.hub == hubs_started_ || told.position < started_at_) return &told;
  }
  return nullptr;
}

/// Of a listen that is recovered: nothing that changed may be missing.
void Model::check_missed(const Op& op) {
  const Told* told = find_told(op);
  if (told == nullptr) return;
  for (const u16 resource : asked_) {
    const bool is_told = std::find(missed_.begin(), missed_.end(), resource) != missed_.end();
    if (last_change_[resource] > told->published && !is_told)
      broken_promise_ = "every resource that has changed since the client was told that position";
  }
}

u32 Model::record_cost(u32 scope) const { return words_.scopes[scope].topic_bytes + 160; }

void Model::join_history(u32 scope) {
  Recorded& it = recorded_[scope];
  if (!it.is_there) {
    it.is_there = true;
    it.floor = position();
    history_bytes_ += record_cost(scope);
  }
  if (it.is_left) std::erase(left_, scope);
  it.is_left = false;
}

void Model::leave_history(u32 scope) {
  expire_history();
  recorded_[scope].is_left = true;
  recorded_[scope].left_at = position();
  left_.push_back(scope);
  shrink_history();
}

namespace {

constexpr u32 kept_bytes = 96;

}  // namespace

void Model::expire_history() {
  const u64 oldest = position_before(config_->history_ms);
  while (!left_.empty() && recorded_[left_.front()].left_at < oldest) erase_history(left_.front());
  for (u32 scope = 0; scope < recorded_.size(); ++scope) {
    Recorded& it = recorded_[scope];
    while (!it.messages.empty() && it.messages.front().at < oldest) forget_oldest(scope);
  }
}

void Model::forget_oldest(u32 scope) {
  Recorded& it = recorded_[scope];
  it.floor = it.messages.front().at;
  history_bytes_ -= it.messages.front().text.size() + kept_bytes;
  it.messages.erase(it.messages.begin());
}

void Model::erase_history(u32 scope) {
  while (!recorded_[scope].messages.empty()) forget_oldest(scope);
  history_bytes_ -= record_cost(scope);
  std::erase(left_, scope);
  recorded_[scope] = Recorded{};
}

void Model::record_message(u32 scope, u64 at, Bytes message) {
  Recorded& it = recorded_[scope];
  it.messages.push_back({at, std::string(message)});
  history_bytes_ += message.size() + kept_bytes;
  if (it.messages.size() > config_->history_messages_max) forget_oldest(scope);
  shrink_history();
}

void Model::shrink_history() {
  while (history_bytes_ > config_->history_bytes_max) {
    u32 oldest = nobody;
    for (u32 other = 0; other < recorded_.size(); ++other) {
      if (recorded_[other].messages.empty()) continue;
      if (oldest == nobody ||
          recorded_[other].messages.front().at < recorded_[oldest].messages.front().at)
        oldest = other;
    }
    if (oldest != nobody) {
      forget_oldest(oldest);
    } else if (!left_.empty()) {
      erase_history(left_.front());
    } else {
      return;  // channels with subscribers
    }
  }
}

/// The channel whose messages since then are all there; `nobody`: some are missing.
u32 Model::find_recorded(const Op& op) {
  if (!op.has_since || !has_session(op.client)) return nobody;
  verdict_ = Checker::recovered;
  expire_history();
  const TokenFacts& token = tokens_[op.token];
  const Recorded& it = recorded_[token.scope];
  const u64 oldest =
      std::max({position_before(config_->history_ms), token.registered_at, it.floor});
  if (!is_known(op) || !it.is_there || op.since < oldest) return nobody;
  const auto count = std::count_if(it.messages.begin(), it.messages.end(),
                                   [&](const Recorded::Kept& kept) { return kept.at > op.since; });
  const Told* told = find_told(op);
  if (told != nullptr && std::count_if(sent_to_[token.scope].begin(), sent_to_[token.scope].end(),
                                       [&](u32 sent) { return sent > told->published; }) != count)
    broken_promise_ = "as many messages as were published since the client was told that position";
  return token.scope;
}

void Model::say_missed(const Op& op, u32 scope) {
  const Recorded& it = recorded_[scope];
  u32 count = 0;
  for (const Recorded::Kept& kept : it.messages) count += kept.at > op.since ? 1 : 0;
  begin_text();
  text += "{ \"type\": \"subscribed\"";
  append_id(op.client, op.id);
  text += ", ";
  append_scope(scope, tokens_[op.token].order);
  append_at(op.client);
  text.append(", \"recovered\": true, \"missed\": ").append(Digits(count)).append(" }");
  end_text(add(EffectKind::send, op.client));
  for (const Recorded::Kept& kept : it.messages) {
    if (kept.at <= op.since) continue;
    begin_text();
    text += kept.text;
    end_text(add(EffectKind::send, op.client));
  }
}

/// Forgets the ids and outcomes of another session.
void Model::set_session(u32 token, u16 session) {
  TokenFacts& it = tokens_[token];
  if (it.session == session) return;
  if (it.session != no_one) {
    it.sends = Sends{};
    it.is_known_here = false;
    recount_cost(token);
  }
  it.session = session;
}

void Model::recount_cost(u32 token) {
  TokenFacts& it = tokens_[token];
  token_bytes_ -= it.cost;
  it.cost = cost_of(token);
  token_bytes_ += it.cost;
}

/// Of a message with an id: returns false if it is to be forwarded.
bool Model::repeat(const Op& op) {
  const TokenFacts& token = tokens_[op.token];
  const u16 session = clients_[op.client].session;
  const Sends sends = token.session == session ? token.sends : Sends{};
  verdict_ = Checker::acks;
  const bool is_new = op.id > sends.last_id;
  if (!op.is_repeat) {
    if (is_new) return false;
    refuse(op, "client", ErrorCode::shape, "\"id\" must be above that of the message before", true,
           true);
    return true;
  }
  const bool is_known_here =
      token.is_known_here && (token.session == session || token.session == no_one);
  if (is_new && is_known_here) return false;
  const Message message{0, token.scope, token.order, op.client, 0, {}, {}, 0, op.id};
  const auto is_ending = [&](const Ending& ending) { return ending.id == op.id; };
  const auto ending = std::find_if(sends.endings.begin(), sends.endings.end(), is_ending);
  if (ending != sends.endings.end()) {
    take_if_free(op);
    say_ending(op.client, message, ending->reply, ending->status);
  } else if (std::find(sends.under_way.begin(), sends.under_way.end(), op.id) !=
             sends.under_way.end()) {
    take_if_free(op);
    const auto note = [&](Message& it) {
      if (it.lane != token.lane || it.sends != sends.serial || it.id != op.id) return;
      it.sender = op.client;
      it.generation = clients_[op.client].generation;
    };
    for (Message& it : lanes_[token.lane].waiting) note(it);
    for (Flight& it : flights_) note(it.message);
  } else {
    refuse(op, "sidekick", ErrorCode::unknown,
           "the outcome of this message is not known; it may have been processed", true, true);
  }
  return true;
}

void Model::take_if_free(const Op& op) {
  if (tokens_[op.token].hold != Hold::free) return;
  hold(op);
  touch(op.token);
  attach_token(op.client, "tokens", op.token);
}

void Model::begin_send(const Op& op, Message& message) {
  TokenFacts& token = tokens_[op.token];
  if (token.sends.serial == 0) {
    token.sends.serial = ++sends_started_;
    recount_cost(op.token);
  }
  token.sends.last_id = op.id;
  token.sends.under_way.push_back(op.id);
  message.sends = token.sends.serial;
  std::vector<std::pair<u16, u64>>& handed_on = handed_on_[op.token];
  const std::pair<u16, u64> it{token.session, op.id};
  if (op.is_repeat && std::find(handed_on.begin(), handed_on.end(), it) != handed_on.end())
    broken_promise_ = "a message to be forwarded once";
  handed_on.push_back(it);
}

}  // namespace sidekick::sim
