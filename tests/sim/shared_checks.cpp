// A hub with an engine does the same as one without: each peer sees the same in the same order.
// Known differences, none of which a client may mistake for something else:
//   - positions and epochs are the engine's
//   - the engine remembers all channels and resources: it recovers more, and is checked against
//     what it was told
//   - a hub has forgotten the ids of messages that were sent with a token it has given back
//   - while messages of a token are under way, its hub holds it: `register` gets 409
//   - the order of changed resources, if they are on several shards
#include <algorithm>

#include "rescue.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"
#include "trial.hpp"

namespace sidekick::sim {

namespace {

constexpr Bytes at_names[] = {"\"at\": ", "\"at\":"};

/// The number after the last `name`; 0: none.
u64 number_after(Bytes text, Bytes name) {
  const std::size_t start = text.rfind(name);
  if (start == Bytes::npos) return 0;
  u64 number = 0;
  for (const char c : text.substr(start + name.size())) {
    if (c < '0' || c > '9') break;
    number = number * 10 + static_cast<u64>(c - '0');
  }
  return number;
}

u64 position_in(Bytes text) {
  for (const Bytes name : at_names)
    if (const u64 at = number_after(text, name); at != 0) return at;
  return 0;
}

std::string without_stamps(Bytes text) {
  std::string out(text);
  for (const Bytes name : at_names) {
    const std::size_t start = out.rfind(name);
    if (start == std::string::npos) continue;
    const std::size_t end = out.find_first_not_of("0123456789", start + name.size());
    if (end > start + name.size()) out.erase(start, end - start);
  }
  // Of a frame with another position or epoch.
  const std::size_t byte = out.find(" at byte ");
  if (byte != std::string::npos && out.find("\"error\"") < byte)
    out.erase(byte, out.find('"', byte) - byte);
  const std::size_t epoch = out.find("\"epoch\": \"");
  if (out.find("\"welcome\"") < epoch && epoch != std::string::npos)
    out.erase(epoch, out.find("\", ", epoch) - epoch);
  return out;
}

bool is_updated(Bytes text) { return text.find("{ \"type\": \"updated\"") != Bytes::npos; }

/// What a client sees, to be compared.
std::vector<std::string> comparable(const std::vector<std::string>& seen) {
  std::vector<std::string> out;
  for (const std::string& text : seen) out.push_back(without_stamps(text));
  for (auto at = out.begin(); at != out.end();) {
    const auto end = std::find_if_not(at, out.end(), is_updated);
    std::sort(at, end);
    at = end == out.end() ? end : end + 1;
  }
  return out;
}

std::string list(const std::vector<std::string>& seen) {
  std::string out = seen.empty() ? "nothing" : "";
  for (const std::string& text : seen) out.append(out.empty() ? "" : "; ").append(text);
  return out;
}

}  // namespace

/// The same message, with the positions that the hub with the engine has told.
Op Trial::shared_op(const Op& op) const {
  Op same = op;
  const auto known = shared_positions_.find(op.since);
  if (known != shared_positions_.end()) same.since = known->second;
  if (op.epoch == model_.epoch())
    same.epoch.ahead_ms = 1;
  else if (op.epoch == EpochFacts{model_.epoch().hub, 1})
    same.epoch.ahead_ms = 2;
  return same;
}

/// Returns false if both hubs had better not get this op.
bool Trial::is_shared(const Op& op) const {
  if (shared_ == nullptr || op.kind != OpKind::http || op.verb != Verb::connection) return true;
  const TokenFacts& token = model_.tokens()[op.token];
  return token.hold != Hold::free || token.lane == nobody;
}

bool Trial::compare_shared(const Op& op, Input input, const Op& asked) {
  if (shared_ == nullptr) return true;
  std::string bytes;
  if (op.kind == OpKind::frame) {
    write_message(bytes, asked, words_);
    std::string epoch;
    append_epoch(epoch, {model_.epoch().hub, 1});
    const std::size_t at = shared_epoch_.empty() ? bytes.npos : bytes.find('"' + epoch + '"');
    if (at != bytes.npos) bytes.replace(at + 1, epoch.size(), shared_epoch_);
    input.client_frame.bytes = bytes;
  }
  if (input.tag == InputTag::forward_done) {
    const auto flight = shared_flights_.find(input.forward_done.forward);
    input.forward_done.forward = flight == shared_flights_.end() ? 0 : flight->second;
  }
  const u64 inputs = shared_->inputs();
  if (!survives([&] { shared_->take(op.now, input); })) {
    static_cast<void>(shared_.release());
    return lose_hub("a trap in the hub with an engine");
  }
  inputs_ += shared_->inputs() - inputs;
  if (op.kind == OpKind::http && op.verb == Verb::message && shared_->last_topic() != nullptr)
    shared_topics_[op.scope] = *shared_->last_topic();

  SharedHub::Seen first;
  for (const Action& action : actions_) first.add(action);
  const SharedHub::Seen& other = shared_->seen;
  const bool is_send = op.kind == OpKind::frame && op.verb == Verb::send && op.id != 0 &&
                       model_.clients()[op.client].session != no_one;
  const bool may_differ =
      is_send && (op.is_repeat || shared_->is_forgotten(words_.tokens[op.token].bytes));
  const bool is_same = compare_seen(op, asked, first, other, may_differ);
  if (!is_same && may_differ && !failure_) shared_.reset();
  if (!is_same) return !failure_;
  for (std::size_t i = 0; i < first.ids.size(); ++i)
    shared_flights_.emplace(first.ids[i], other.ids[i]);
  return true;
}

bool Trial::compare_seen(const Op& op, const Op& asked, SharedHub::Seen& first,
                         const SharedHub::Seen& other, bool may_differ) {
  const auto differ = [&](std::string expected, std::string came) {
    if (!may_differ) fail(Checker::shared_same, std::move(expected), std::move(came));
    return false;
  };
  if (first.forwards != other.forwards) return differ(list(first.forwards), list(other.forwards));
  bool are_cancelled = first.cancelled.size() == other.cancelled.size();
  for (std::size_t i = 0; are_cancelled && i < first.cancelled.size(); ++i) {
    const auto flight = shared_flights_.find(first.cancelled[i]);
    are_cancelled = flight != shared_flights_.end() && flight->second == other.cancelled[i];
  }
  if (!are_cancelled) return differ("the same forwards to be cancelled", "others");

  for (const auto& [request, answers] : other.requests) first.requests[request];
  for (const auto& [request, answers] : first.requests) {
    const auto came = other.requests.find(request);
    const bool is_health = op.kind == OpKind::http && op.verb == Verb::health && !answers.empty() &&
                           answers[0].starts_with("200");
    if (is_health && came != other.requests.end() && came->second.size() == 1) {
      if (!compare_health(came->second[0])) return false;
    } else if (came == other.requests.end() || came->second != answers) {
      return differ(list(answers), came == other.requests.end() ? "nothing" : list(came->second));
    }
  }

  for (const auto& [client, texts] : other.clients) first.clients[client];
  for (const auto& [client, texts] : first.clients) {
    const auto at = other.clients.find(client);
    const std::vector<std::string> none_came;
    const std::vector<std::string>& came = at == other.clients.end() ? none_came : at->second;
    const bool is_asker = op.kind == OpKind::frame && handle_of(op.client) == client;
    const bool has_session = is_asker && model_.clients()[op.client].session != no_one;
    if (has_session && op.has_since && (op.verb == Verb::subscribe || op.verb == Verb::listen)) {
      if (!compare_missed(op, asked, texts, came)) return false;
    } else if (is_asker && op.verb == Verb::listen && config().listen_lookback_ms != 0) {
      // It may tell more.
      const auto is_told = [](const std::vector<std::string>& all, const std::string& one) {
        return std::find(all.begin(), all.end(), one) != all.end();
      };
      const std::vector<std::string> are = comparable(came);
      for (const std::string& text : comparable(texts))
        if (!is_told(are, text)) return differ(text, list(came));
    } else if (comparable(texts) != comparable(came)) {
      return differ(list(texts), list(came));
    }
    for (std::size_t i = 0; i < std::min(texts.size(), came.size()); ++i)
      if (is_asker) note_told(texts[i], came[i], op);
  }
  return true;
}

/// Positions and epochs of both hubs that mean the same.
void Trial::note_told(Bytes text, Bytes came, const Op& op) {
  constexpr Bytes epoch = "\"welcome\": { \"version\": 1, \"epoch\": \"";
  const std::size_t start = came.find(epoch);
  if (start != Bytes::npos) {
    shared_epoch_ = came.substr(start + epoch.size());
    shared_epoch_.resize(shared_epoch_.find('"'));
  }
  const u16 session = model_.clients()[op.client].session;
  const u64 at = position_in(text);
  const u64 came_at = position_in(came);
  const bool is_told = came.find("\"type\": \"listening\"") != Bytes::npos ||
                       came.find("\"type\": \"subscribed\"") != Bytes::npos;
  if (session == no_one || at == 0 || came_at == 0 || !is_told) return;
  shared_positions_[at] = came_at;
  const u32 count = shared_->change_count();
  shared_told_.try_emplace(std::pair(session, came_at), ToldAt{count, count}).first->second.last =
      count;
}

/// Of a client that comes back: the engine may remember more, but all that it says is true.
bool Trial::compare_missed(const Op& op, const Op& asked, const std::vector<std::string>& texts,
                           const std::vector<std::string>& came) {
  const auto differ = [&](std::string expected) {
    return fail(Checker::shared_same, std::move(expected), list(came));
  };
  std::size_t at = 0;
  while (at < std::min(texts.size(), came.size()) && texts[at] == came[at]) ++at;
  if (at == texts.size() && at == came.size()) return true;
  if (at == texts.size() || at == came.size()) return differ(list(texts));
  const auto is_recovered = [](Bytes text) {
    return text.find("\"recovered\": true") != Bytes::npos;
  };
  const auto told = shared_told_.find({model_.clients()[op.client].session, asked.since});
  const u32 serial = told == shared_told_.end() ? none_told : told->second.first;
  const auto& published = shared_->changes(shared_topics_[model_.tokens()[op.token].scope]);
  if (!is_recovered(came[at])) {
    if (is_recovered(texts[at])) {
      // If the clocks of shards differ, a message that was published before the position was told
      // may lie above it, and the engine may have forgotten that message.
      const auto is_above = [&](const SharedHub::Change& change) {
        return change.at > asked.since && change.serial <= serial;
      };
      if (op.verb == Verb::subscribe && std::any_of(published.begin(), published.end(), is_above))
        return true;
      // Its position may lie below: it moves with messages and heartbeats.
      if (op.verb == Verb::subscribe &&
          (asked.since < shared_->registered_at(words_.tokens[op.token].bytes) ||
           asks_again(op, asked)))
        return true;
      const bool was_told = shared_positions_.contains(op.since) && op.epoch == model_.epoch();
      return !was_told || op.count == 0 || differ(list(texts));
    }
    return comparable(texts) == comparable(came) || differ(list(texts));
  }
  // What it must tell, and what it may: above the position.
  if (op.verb == Verb::subscribe) {
    std::vector<std::string> missed;
    for (const SharedHub::Change& change : published) {
      if (change.at > asked.since)
        missed.push_back(compose({"ok ", Bytes(change.text).substr(0, change.text.size() - 2),
                                  ", \"at\": ", Digits(change.at), " }"}));
      else if (change.serial > serial)
        return differ("a position below all that was published since it was told");
    }
    if (number_after(came[at], "\"missed\": ") != missed.size() ||
        missed != std::vector<std::string>(came.begin() + static_cast<long>(at) + 1, came.end()))
      return differ("recovered, and missed: " + list(missed));
    return true;
  }
  if (came.size() != at + 1) return differ("one reply");
  const Bytes changed =
      Bytes(came[at]).substr(std::min(came[at].find("\"changed\": ["), came[at].size()));
  for (u32 i = 0, of = op.first; i < op.count; ++i, of += op.stride) {
    const Word& word = words_.resources[of % words_.resources.size()];
    const auto& changes = shared_->changes("resource:" + word.bytes);
    const bool is_listed = changed.find(word.literal) != Bytes::npos;
    const bool has_changed = !changes.empty() && changes.back().at > asked.since;
    if (is_listed != has_changed)
      return differ(compose({word.literal, has_changed ? " as changed" : " as not changed"}));
    if (!has_changed && !changes.empty() && changes.back().serial > serial)
      return differ("a position below all that was published since it was told");
  }
  return true;
}

/// Whether the position lies below messages that were there when it was told: that of another shard
/// did. The engine may have forgotten these.
bool Trial::asks_again(const Op& op, const Op& asked) const {
  const auto told = shared_told_.find({model_.clients()[op.client].session, asked.since});
  const auto topic = shared_topics_.find(model_.tokens()[op.token].scope);
  if (shared_->shard_count() == 1 || told == shared_told_.end() || topic == shared_topics_.end())
    return false;
  const auto& messages = shared_->changes(topic->second);
  return std::any_of(messages.begin(), messages.end(), [&](const SharedHub::Change& it) {
    return it.at > asked.since && it.serial <= told->second.last;
  });
}

/// What remains in the hub and in the engine.
bool Trial::compare_health(Bytes came) {
  if (came.find("\"tokens\":") == Bytes::npos) return true;
  u32 held = 0;
  for (const TokenFacts& token : model_.tokens()) {
    const bool is_held = token.hold == Hold::held || token.hold == Hold::subscribed ||
                         (token.hold == Hold::free && token.lane != nobody);
    held += is_held ? 1 : 0;
  }
  const auto is = [&](Bytes name) { return number_after(came, name); };
  const bool is_right =
      is("\"tokens\":") == held && is("\"clients\":") == model_.client_count() &&
      is("\"forwards\":") == model_.flights().size() &&
      (shared_->lingers() ? is("\"topics\":") >= model_.topic_count()
                          : is("\"topics\":") == model_.topic_count() &&
                                shared_->joined().size() == model_.topic_count()) &&
      shared_->holds().size() == held;
  if (is_right) return true;
  return fail(Checker::shared_same,
              compose({Digits(model_.client_count()), " clients, ", Digits(held), " tokens, ",
                       Digits(model_.topic_count()), " topics"}),
              compose({came, "; in the engine ", Digits(shared_->holds().size()), " held, ",
                       Digits(shared_->joined().size()), " joined"}));
}

}  // namespace sidekick::sim
