// A second hub, restored from the host's store while the first goes on: from then on both must give
// the same bytes. By design they differ in forward ids and in when they set their timers.
#include <algorithm>

#include "rescue.hpp"
#include "sidekick/text.hpp"
#include "trial.hpp"

namespace sidekick::sim {

namespace {

/// A restored hub cannot know how far the stamps of the one before went: its positions are later.
std::string without_positions(Bytes text) {
  std::string out(text);
  for (const Bytes name : {"\"at\": ", "\"at\":"}) {
    const std::size_t start = out.find(name);
    if (start == Bytes::npos) continue;
    const std::size_t end = out.find_first_not_of("0123456789", start + name.size());
    if (end > start + name.size()) out.erase(start, end - start);
  }
  return out;
}

bool is_same_field(const Field& field, const char* one, const char* other) {
  switch (field.kind) {
    case FieldKind::u32_word:
      return field_at<u32>(one, field) == field_at<u32>(other, field);
    case FieldKind::u64_word:
      return field_at<u64>(one, field) == field_at<u64>(other, field);
    case FieldKind::code:
      return field_at<ErrorCode>(one, field) == field_at<ErrorCode>(other, field);
    case FieldKind::bytes: {
      const Bytes left = field_at<Bytes>(one, field);
      const Bytes right = field_at<Bytes>(other, field);
      return left == right || without_positions(left) == without_positions(right);
    }
    case FieldKind::list: {
      const auto left = field_at<std::span<const Bytes>>(one, field);
      const auto right = field_at<std::span<const Bytes>>(other, field);
      return std::equal(left.begin(), left.end(), right.begin(), right.end());
    }
    case FieldKind::ids: {
      const auto left = field_at<std::span<const u32>>(one, field);
      const auto right = field_at<std::span<const u32>>(other, field);
      return std::equal(left.begin(), left.end(), right.begin(), right.end());
    }
    case FieldKind::end:
      break;
  }
  trap();
}

bool is_same(const Action& one, const Action& other) {
  if (one.tag != other.tag) return false;
  for (const Field* field = find_action_shape(static_cast<u32>(one.tag))->fields;
       field->kind != FieldKind::end; ++field) {
    if (field->name == "forward") continue;  // its id
    if (!is_same_field(*field, fields_of(one), fields_of(other))) return false;
  }
  return true;
}

}  // namespace

/// Only while no forward is queued or in flight, since a restart loses those; and not with a frame
/// rate limit, since its credit starts afresh. Nor while an answer is due, or the store is behind.
void Trial::start_twin(Millis now) {
  if (!model_.is_idle() || config().frames_per_second != 0) return;
  if (model_.is_draining()) return;  // a restored hub drains by the time left, at another pace
  if (is_failing_ || has_open_requests()) return;
  const auto is_stale = [](u8 stale) { return stale != 0; };
  if (std::any_of(stale_rows_.begin(), stale_rows_.end(), is_stale)) return;
  if (std::any_of(stale_records_.begin(), stale_records_.end(), is_stale)) return;
  // Also not while expired deadlines are pending.
  if (model_.soonest() != 0 && model_.soonest() <= now) return;
  // It would not count what is remembered of messages with an id.
  const auto& tokens = model_.tokens();
  if (std::any_of(tokens.begin(), tokens.end(),
                  [](const TokenFacts& it) { return it.sends.serial != 0; }))
    return;
  // A new hub cannot know of a step back of the clock, unless a record tells it.
  const auto& clients = model_.clients();
  const bool has_sessions = std::any_of(clients.begin(), clients.end(), [](const ClientFacts& it) {
    return it.is_open && it.session != no_one;
  });
  if (model_.clock() - model_.epoch().ahead_ms != now ||
      (model_.epoch().ahead_ms != 0 && !has_sessions))
    return;
  twin_ = std::make_unique<Hub>(config());
  twin_flights_.clear();
  twin_epoch_ = model_.epoch();
  const auto give = [&](const Input& input) { twin_->handle(now, input, twin_actions_); };
  give(input::Begin{model_.epoch().hub});
  for (u32 token = 0; token < swarm_.tokens; ++token) {
    const TokenRow& row = rows_[token];
    if (row.is_there)
      give(input::RestoreToken{row.state, row.expires_at, words_.tokens[token].bytes, row.record});
  }
  for (u32 client = swarm_.clients; client-- > 0;) {
    if (sockets_[client] != 0) give(input::RestoreClient{handle_of(client), records_[client]});
  }
  give(input::Restored{});
  if (is_stopping_) give(input::ShuttingDown{});
}

/// Whether the answer may show what a restored hub has forgotten: changes, messages, outcomes.
bool Trial::is_forgetful(const Op& op) const {
  if (op.kind != OpKind::frame) return false;
  const bool has_session = model_.clients()[op.client].session != no_one;
  if (op.verb == Verb::listen) return (has_session && op.has_since) || config().listen_lookback_ms;
  return has_session && op.verb == Verb::subscribe && op.has_since;
}

bool Trial::compare_twin(const Op& op, Input input) {
  if (twin_ == nullptr) return true;
  const bool is_send = op.kind == OpKind::frame && op.verb == Verb::send && op.id != 0 &&
                       model_.clients()[op.client].session != no_one;
  if (twin_epoch_ != model_.epoch() ||
      is_send) {  // it has other slots, and rewrites its records in their order
    twin_.reset();
    return true;
  }
  if (input.tag == InputTag::forward_done) {
    const auto flight = twin_flights_.find(input.forward_done.forward);
    const bool is_known = flight != twin_flights_.end();
    input.forward_done.forward = is_known ? flight->second : 0;  // 0: a flight older than the twin
  }
  if (!survives([&] { twin_->handle(op.now, input, twin_actions_); }))
    return lose_hub("a trap in the restored hub");
  pair_flights();
  if (is_forgetful(op)) return true;
  u32 at = 0;
  for (const Action& action : actions_) {
    if (action.tag == ActionTag::set_timer) continue;
    while (at < twin_actions_.size() && twin_actions_[at].tag == ActionTag::set_timer) ++at;
    if (at == twin_actions_.size())
      return fail(Checker::restore_same, show(action), "nothing from the restored hub");
    if (!is_same(action, twin_actions_[at]))
      return fail(Checker::restore_same, show(action), show(twin_actions_[at]));
    if (action.tag == ActionTag::cancel_forward) {
      const auto flight = twin_flights_.find(action.cancel_forward.forward);
      if (flight == twin_flights_.end() ||
          flight->second != twin_actions_[at].cancel_forward.forward)
        return fail(Checker::restore_same, show(action), show(twin_actions_[at]));
    }
    ++at;
  }
  while (at < twin_actions_.size() && twin_actions_[at].tag == ActionTag::set_timer) ++at;
  if (at < twin_actions_.size())
    return fail(Checker::restore_same, "nothing more", show(twin_actions_[at]));
  return true;
}

/// Also in an input whose other actions are not compared: a forward may be due in any.
void Trial::pair_flights() {
  u32 at = 0;
  for (const Action& action : actions_) {
    if (action.tag != ActionTag::forward) continue;
    while (at < twin_actions_.size() && twin_actions_[at].tag != ActionTag::forward) ++at;
    if (at == twin_actions_.size()) return;
    twin_flights_.emplace(action.forward.forward, twin_actions_[at++].forward.forward);
  }
}

/// O(state), so not after every step.
bool Trial::check_twin_hash() {
  if (twin_ == nullptr || failure_) return !failure_;
  const u64 is = hub_->state_hash();
  const u64 came = twin_->state_hash();
  if (is == came) return true;
  return fail(Checker::restore_same, compose({"state hash of the first hub: ", Digits(is)}),
              compose({"of the restored hub: ", Digits(came)}));
}

long long text_bytes_of(const Action& action) {
  long long bytes = 0;
  const char* fields = fields_of(action);
  for (const Field* field = find_action_shape(static_cast<u32>(action.tag))->fields;
       field->kind != FieldKind::end; ++field) {
    if (field->kind == FieldKind::bytes)
      bytes += static_cast<long long>(field_at<Bytes>(fields, *field).size());
    if (field->kind == FieldKind::list) {
      for (const Bytes element : field_at<std::span<const Bytes>>(fields, *field))
        bytes += static_cast<long long>(element.size());
    }
    if (field->kind == FieldKind::ids)
      bytes += static_cast<long long>(field_at<std::span<const u32>>(fields, *field).size_bytes());
  }
  return bytes;
}

u64 digest_of(u64 digest, const Action& action) {
  const auto mix = [&digest](u64 word) {
    digest = (digest ^ word) * 0x9E3779B97F4A7C15;
    digest ^= digest >> 29;
  };
  const auto mix_bytes = [&mix](Bytes bytes) {
    mix(bytes.size());
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
      u64 word;
      __builtin_memcpy(&word, bytes.data(), 8);
      mix(word);
    }
    for (const char c : bytes) mix(static_cast<u8>(c));
  };
  mix(static_cast<u64>(action.tag));
  const char* fields = fields_of(action);
  for (const Field* field = find_action_shape(static_cast<u32>(action.tag))->fields;
       field->kind != FieldKind::end; ++field) {
    switch (field->kind) {
      case FieldKind::u32_word:
        mix(field_at<u32>(fields, *field));
        break;
      case FieldKind::u64_word:
        mix(field_at<u64>(fields, *field));
        break;
      case FieldKind::code:
        mix(static_cast<u64>(field_at<ErrorCode>(fields, *field)));
        break;
      case FieldKind::bytes:
        mix_bytes(field_at<Bytes>(fields, *field));
        break;
      case FieldKind::list:
        for (const Bytes bytes : field_at<std::span<const Bytes>>(fields, *field)) mix_bytes(bytes);
        break;
      case FieldKind::ids:
        for (const u32 id : field_at<std::span<const u32>>(fields, *field)) mix(id);
        break;
      case FieldKind::end:
        break;
    }
  }
  return digest;
}

}  // namespace sidekick::sim
