// Compares every action with the effects that the model demands. An action is compared with the
// first unmet effect of its kind and target. A visible effect may only come after all durable
// effects before it.
#include <algorithm>
#include <bit>
#include <cstring>

#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"
#include "trial.hpp"

namespace sidekick::sim {

namespace {

constexpr const char* effect_names[] = {
    "put_token", "touch_token", "erase_token", "attach_client", "send", "send to the subscribers",
    "respond",   "forward",     "close",       "cancel_forward"};

bool is_row(EffectKind kind) {
  return kind == EffectKind::put || kind == EffectKind::touch || kind == EffectKind::erase;
}

constexpr std::size_t reason_bytes_max = 123;  // RFC 6455 section 5.5

}  // namespace

bool Trial::check(const Action& action) {
  switch (action.tag) {
    case ActionTag::put_token:
      return check_row(action, action.put_token.key);
    case ActionTag::touch_token:
      return check_row(action, action.touch_token.key);
    case ActionTag::erase_token:
      return check_row(action, action.erase_token.key);
    case ActionTag::attach_client:
      return check_attach(action);
    case ActionTag::send:
      return check_send(action);
    case ActionTag::respond:
      return check_respond(action);
    case ActionTag::forward:
      return check_forward(action);
    case ActionTag::close:
      return check_close(action);
    case ActionTag::cancel_forward:
      return check_cancel(action);
    case ActionTag::set_timer:
      if (action.set_timer.at_ms <= model_.now())
        return fail(Checker::timer, "a timer in the future", show(action));
      if (timer_at_ != 0 && action.set_timer.at_ms >= timer_at_)
        return fail(Checker::timer, "a new timer only if it is earlier", show(action));
      timer_at_ = action.set_timer.at_ms;
      if (timer_at_ == model_.soonest()) return true;
      // So the timers end once everyone has left.
      return fail(Checker::timer,
                  compose({"a timer for the next deadline, at ", Digits(model_.soonest()),
                           " (0: nothing ever)"}),
                  show(action));
    case ActionTag::engine_run:
    case ActionTag::engine_join:
    case ActionTag::engine_leave:
      trap();  // no engine
  }
  trap();
}

/// The first unmet effect of this kind and target. Rows are one stream per token, whatever the
/// operation.
Effect* Trial::find(EffectKind kind, u32 who) {
  for (std::size_t i = first_open_; i < model_.effects.size(); ++i) {
    Effect& effect = model_.effects[i];
    if (effect.is_met || effect.who != who) continue;
    if (effect.kind == kind || (is_row(kind) && is_row(effect.kind))) return &effect;
  }
  return nullptr;
}

/// The op's own effects come in the order of the model, except that stored ones may come in any
/// order among themselves; the answer to a request comes last.
bool Trial::meet(Effect& effect) {
  if (!effect.is_stored()) {
    const std::size_t from = effect.kind == EffectKind::respond
                                 ? first_open_
                                 : std::max<std::size_t>(first_open_, model_.own_from);
    for (std::size_t i = from; &model_.effects[i] < &effect; ++i) {
      const Effect& before = model_.effects[i];
      if (!before.is_met)
        return fail(before.is_stored() ? Checker::record_first : Checker::answers,
                    show(before) + " first", show(effect));
    }
  }
  effect.is_met = true;
  while (first_open_ < model_.effects.size() && model_.effects[first_open_].is_met) ++first_open_;
  return true;
}

bool Trial::is_met(const Effect& effect, Bytes text) const {
  const Bytes demanded = model_.text_of(effect);
  if (!effect.is_error) return text == demanded;
  const std::size_t end = demanded.size() - effect.tail_size;
  const std::size_t start = end - effect.pattern_size;
  if (text.substr(0, start) != demanded.substr(0, start) || !text.ends_with(demanded.substr(end)) ||
      text.size() < start + effect.tail_size)
    return false;
  return matches(demanded.substr(start, effect.pattern_size),
                 text.substr(start, text.size() - start - effect.tail_size), true);
}

bool matches(Bytes pattern, Bytes text, bool is_quoted) {
  constexpr std::size_t words_bytes_max = 100;
  const auto has = [pattern](char c) { return pattern.find(c) != Bytes::npos; };
  if (!has('#') && !has('*') && !(is_quoted && (has('"') || has('\\'))))
    return text == pattern;  // the common case
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '#') {
      const std::size_t size = std::min(text.find_first_not_of("0123456789"), text.size());
      if (size == 0) return false;
      text.remove_prefix(size);
    } else if (c == '*') {
      const Bytes next = pattern.substr(i + 1, pattern.find_first_of("#*", i + 1) - i - 1);
      const std::size_t size = text.find(next);
      if (size == Bytes::npos || size > words_bytes_max) return false;
      for (const Bytes secret : secrets) {
        if (text.substr(0, size).find(secret) != Bytes::npos) return false;
      }
      text.remove_prefix(size);
    } else {
      const bool is_escaped = is_quoted && (c == '"' || c == '\\');
      if (is_escaped && !text.starts_with('\\')) return false;
      if (is_escaped) text.remove_prefix(1);
      if (!text.starts_with(c)) return false;
      text.remove_prefix(1);
    }
  }
  return text.empty();
}

/// An action that matches no effect.
bool Trial::miss(const Effect* effect, const Action& action, Checker otherwise) {
  std::string came = show(action);
  const bool is_refusal_by_limit = came.find("_max)") != std::string::npos ||
                                   came.find("(frames_per_second)") != std::string::npos;
  const Checker checker = is_refusal_by_limit ? Checker::limits : blame(otherwise);
  if (effect != nullptr) return fail(checker, show(*effect), std::move(came));
  std::string expected = "no such action";
  for (const Effect& other : model_.effects) {
    if (!other.is_met) expected = show(other);
    if (!other.is_met) break;
  }
  return fail(checker, std::move(expected), std::move(came));
}

bool Trial::check_row(const Action& action, Bytes key) {
  // Mostly the next one.
  const Effect* next = first_open_ < model_.effects.size() ? &model_.effects[first_open_] : nullptr;
  const bool is_next =
      next != nullptr && is_row(next->kind) && words_.tokens[next->who].bytes == key;
  const u32 token = is_next ? next->who : words_.find_token(key);
  Effect* effect = token < swarm_.tokens ? find(EffectKind::put, token) : nullptr;
  const Checker otherwise = action.tag == ActionTag::erase_token ? Checker::expiry : Checker::rows;
  if (effect == nullptr) return miss(nullptr, action, otherwise);
  TokenRow& row = rows_[token];
  const bool was_lost = stale_rows_[token] == 2;
  const bool is_kept =
      store_row(token, action, effect->is_durable) && !(is_canary_ && steps_ % 50 == 49);
  switch (action.tag) {
    case ActionTag::put_token: {
      const action::PutToken& put = action.put_token;
      if (effect->kind != EffectKind::put || put.state != 0 || put.expires_at != effect->expires_at)
        return miss(effect, action, otherwise);
      if (put.record != model_.text_of(*effect)) return miss(effect, action, Checker::own_context);
      if ((put.durable != 0) != effect->is_durable) return miss_durable(action);
      const TokenFacts& facts = model_.tokens()[token];
      if (is_kept)
        row = TokenRow{true,        put.state,   put.expires_at, std::string(put.record),
                       facts.scope, facts.order, facts.context};
      break;
    }
    case ActionTag::touch_token: {
      const action::TouchToken& touch = action.touch_token;
      const bool is_demanded = effect->kind == EffectKind::touch && touch.state == effect->state &&
                               touch.expires_at == effect->expires_at;
      if (!is_demanded) return miss(effect, action, otherwise);
      if ((touch.durable != 0) != effect->is_durable) return miss_durable(action);
      if (!row.is_there && is_performed() && !is_canary_ && !was_lost)
        return fail(Checker::contract, "touch_token for an existing row", show(action));
      if (is_kept) row.state = touch.state;
      if (is_kept) row.expires_at = touch.expires_at;
      break;
    }
    default:
      if (effect->kind != EffectKind::erase) return miss(effect, action, otherwise);
      if ((action.erase_token.durable != 0) != effect->is_durable) return miss_durable(action);
      if (is_kept) row = TokenRow();
      break;
  }
  return meet(*effect);
}

/// An action that must be stored before a peer is told, or need not.
bool Trial::miss_durable(const Action& action) {
  return fail(Checker::stored, "the other value of durable", show(action));
}

/// docs/architecture.md, "Records": the record is rewritten when its changes outgrow half of it
/// plus 1 KiB.
bool Trial::is_append_due(u32 client, std::size_t change_bytes) const {
  constexpr std::size_t changes_bytes_min = 1024;
  const std::string& record = records_[client];
  if (record.empty()) return false;
  const std::size_t whole_bytes = std::min(record.find('\n'), record.size());
  return record.size() - whole_bytes + change_bytes <= whole_bytes / 2 + changes_bytes_min;
}

bool Trial::check_attach(const Action& action) {
  const action::AttachClient& attach = action.attach_client;
  const u32 client = client_of(attach.client);
  Effect* effect = client == nobody ? nullptr : find(EffectKind::attach, client);
  if (effect == nullptr) return miss(nullptr, action, Checker::rows);
  std::string& record = records_[client];
  bool is_right = false;
  if (effect->status == 1) {
    is_right = attach.append == 0 && attach.record.empty();
  } else if (stale_records_[client] != 0) {
    is_right = true;  // the hub counts what was lost; it is told soon
  } else if (effect->status == 2) {
    is_right = attach.append == 0 && attach.record == model_.text_of(*effect);
  } else if (is_append_due(client, effect->size)) {
    is_right = attach.append == 1 && attach.record == model_.text_of(*effect);
  } else {
    whole_.clear();
    model_.append_client_record(whole_, client);
    is_right = attach.append == 0 && attach.record == whole_;
  }
  if (!is_right) {
    const std::optional<Checker> extension =
        effect->status == 2 ? blame_member(model_.text_of(*effect), attach.record) : std::nullopt;
    if (extension) return fail(*extension, show(*effect), show(action));
    return miss(effect, action, Checker::rows);
  }
  if ((attach.durable != 0) != effect->is_durable) return miss_durable(action);
  if (!store(effect->is_durable)) {
    stale_records_[client] |= is_performed() ? 1 : 0;
  } else {
    if (attach.append == 0) {
      record.clear();
      stale_records_[client] = 0;
    }
    record += attach.record;
  }
  return meet(*effect);
}

bool Trial::check_send(const Action& action) {
  const action::Send& send = action.send;
  if (send.clients.empty())
    return fail(Checker::contract, "a send with at least one client", show(action));
  const bool is_published = send.text.starts_with("{ \"type\": \"message\"") ||
                            send.text.starts_with("{ \"type\": \"updated\"");
  if (is_published) {
    Effect* first = nullptr;
    for (std::size_t i = first_open_; i < model_.effects.size() && first == nullptr; ++i) {
      Effect& effect = model_.effects[i];
      if (!effect.is_met && effect.kind == EffectKind::publish) first = &effect;
    }
    if (first != nullptr) return check_publish(action, *first);
    // Or what one client has missed.
  }
  const u32 client = client_of(send.clients[0]);
  const Checker otherwise = is_published ? Checker::subscribed_only : Checker::answers;
  if (client == nobody || send.clients.size() > 1) return miss(nullptr, action, otherwise);
  Effect* effect = find(EffectKind::send, client);
  if (effect == nullptr || !is_met(*effect, send.text)) {
    const std::optional<Checker> extension =
        effect == nullptr ? std::nullopt : blame_member(model_.text_of(*effect), send.text);
    if (extension) return fail(*extension, show(*effect), show(action));
    return miss(effect, action, otherwise);
  }
  if (send.code != effect->code) return fail(Checker::codes, show(*effect), show(action));
  return meet(*effect);
}

/// The checker of the member of the extension in which the texts first differ, if it is one.
std::optional<Checker> Trial::blame_member(Bytes demanded, Bytes came) {
  static constexpr std::pair<Bytes, Checker> members[] = {
      {"\"id\":", Checker::ids},
      {"\"code\":", Checker::codes},
      {"\"at\":", Checker::positions},
      {"\"epoch\":", Checker::positions},
      {"\"recovered\":", Checker::recovered},
      {"\"changed\":", Checker::recovered},
      {"\"missed\":", Checker::recovered},
  };
  std::size_t at = 0;
  while (at < demanded.size() && at < came.size() && demanded[at] == came[at]) ++at;
  for (const Bytes text : {demanded, came}) {
    for (const auto& [name, checker] : members) {
      const std::size_t start = text.rfind(name, at);
      if (start == Bytes::npos) continue;
      const std::size_t end = std::min(text.find_first_of(",}", start), text.size());
      if (start <= at && at < end) return checker;
    }
  }
  return std::nullopt;
}

bool Trial::check_publish(const Action& action, Effect& effect) {
  const action::Send& send = action.send;
  if (!is_met(effect, send.text)) return miss(&effect, action, Checker::delivered);
  ++publish_;
  const Audience audience = static_cast<Audience>(effect.status);
  const u32 count = model_.subscriber_count(effect.who, audience);
  for (const u32 handle : send.clients) {
    const u32 client = client_of(handle);
    if (client == nobody || !model_.is_subscribed(effect.who, client) ||
        !model_.is_in(audience, client)) {
      return fail(Checker::subscribed_only,
                  compose({"nothing to client ", Digits(handle), ", which is not subscribed"}),
                  show(action));
    }
    if (seen_in_[client] == publish_)
      return fail(Checker::delivered, compose({"client ", Digits(handle), " once"}), show(action));
    seen_in_[client] = publish_;
  }
  if (send.clients.size() != count) {
    return fail(Checker::delivered, compose({"a send to ", Digits(count), " subscribers"}),
                show(action));
  }
  return meet(effect);
}

bool Trial::check_forward(const Action& action) {
  const action::Forward& forward = action.forward;
  Effect* first = nullptr;
  for (std::size_t i = first_open_; i < model_.effects.size(); ++i) {
    Effect& effect = model_.effects[i];
    if (effect.is_met || effect.kind != EffectKind::forward) continue;
    if (first == nullptr) first = &effect;
    if (forward.body != model_.text_of(effect)) continue;
    for (const Flight& flight : model_.flights()) {
      if (flight.id == forward.forward)
        return fail(Checker::contract, "a unique forward id", show(action));
    }
    for (const Ghost& ghost : model_.ghosts()) {
      if (ghost.id == forward.forward)
        return fail(ghost.is_of_earlier_hub ? Checker::own_hub : Checker::contract,
                    "a new forward id", show(action));
    }
    if (forward.forward == 0 || forward.forward > number_max ||
        forward.timeout_ms != config().forward_timeout_ms)
      return miss(&effect, action, Checker::contract);
    model_.flights()[effect.status].id = forward.forward;
    if (has_lost_ && is_performed()) withheld_.push_back(forward.forward);
    return meet(effect);
  }
  if (first == nullptr) return miss(nullptr, action, Checker::forward_order);
  // Correct up to its context? Then the context is wrong.
  const Bytes demanded = model_.text_of(*first);
  const std::size_t context = std::min(demanded.find(", \"context\": "), demanded.size() - 2);
  const bool is_context = forward.body.substr(0, context) == demanded.substr(0, context);
  return miss(first, action, is_context ? Checker::own_context : Checker::forward_order);
}

bool Trial::check_cancel(const Action& action) {
  for (Effect& effect : model_.effects) {
    if (!effect.is_met && effect.kind == EffectKind::cancel &&
        effect.expires_at == action.cancel_forward.forward)
      return meet(effect);
  }
  return miss(nullptr, action, Checker::expiry);
}

bool Trial::check_close(const Action& action) {
  const action::Close& close = action.close;
  const u32 client = client_of(close.client);
  Effect* effect = client == nobody ? nullptr : find(EffectKind::close, client);
  if (effect == nullptr || effect->status != close.code || !is_met(*effect, close.reason))
    return miss(effect, action, Checker::answers);
  if (close.reason.size() > reason_bytes_max)
    return fail(Checker::contract, "a reason of at most 123 bytes", show(action));
  if (close.why != effect->code) return fail(Checker::codes, show(*effect), show(action));
  if (is_performed()) lose_socket(client);
  return meet(*effect);
}

bool Trial::check_all_met() {
  for (std::size_t i = first_open_; i < model_.effects.size(); ++i) {
    const Effect& effect = model_.effects[i];
    if (effect.is_met) continue;
    switch (effect.kind) {
      case EffectKind::put:
      case EffectKind::touch:
      case EffectKind::attach:
        return fail(blame(Checker::rows), show(effect), "nothing");
      case EffectKind::respond:
        keep_open(effect);
        break;
      case EffectKind::erase:
      case EffectKind::cancel:
        return fail(blame(Checker::expiry), show(effect), "nothing");
      case EffectKind::publish:
        return fail(blame(Checker::delivered), show(effect), "nothing");
      case EffectKind::forward:
        return fail(blame(Checker::forward_order), show(effect), "nothing");
      case EffectKind::send:
      case EffectKind::close:
        return fail(blame(Checker::answers), show(effect), "nothing");
    }
  }
  return true;
}

/// Early, late and repeated timers are harmless; a missing one is not.
bool Trial::check_timer() {
  const Millis at_least = model_.soonest_at_least();
  if (at_least == 0 || (timer_at_ != 0 && timer_at_ <= at_least)) return true;
  const Millis soonest = model_.soonest();
  if (soonest == 0 || (timer_at_ != 0 && timer_at_ <= soonest)) return true;
  return fail(Checker::timer, compose({"a timer at ", Digits(soonest), " or before"}),
              compose({"one at ", Digits(timer_at_)}));
}

/// Compares the host's store with the current state. Expensive, so not after every step.
bool Trial::check_rows() {
  for (u32 token = 0; token < swarm_.tokens; ++token) {
    const TokenFacts& facts = model_.tokens()[token];
    const TokenRow& row = rows_[token];
    if (stale_rows_[token] != 0) continue;
    whole_.clear();
    if (facts.hold != Hold::none) model_.append_record(whole_, token);
    if (row.is_of_later_version && facts.hold != Hold::none)
      whole_.replace(whole_.size() - 2, 2, later_token_member);
    const u32 state = static_cast<u32>(facts.hold);
    const bool is_same = !row.is_there ? facts.hold == Hold::none
                                       : row.state == state && row.expires_at == facts.expires_at &&
                                             row.record == whole_;
    if (is_same) continue;
    const auto tell = [](bool is_there, u32 of, Millis until, const std::string& record) {
      return is_there ? compose({"state ", Digits(of), " until ", Digits(until), " ", record})
                      : std::string("no row");
    };
    const std::string holds = tell(facts.hold != Hold::none, state, facts.expires_at, whole_);
    return fail(Checker::rows,
                compose({"a row of token ", words_.tokens[token].literal, ": ", holds}),
                tell(row.is_there, row.state, row.expires_at, row.record));
  }
  // The records must contain what a new model reads from them.
  reader_.reload(model_.now(), config_, 0, rows_, records_, sockets_);
  for (u32 client = 0; client < swarm_.clients; ++client) {
    const ClientFacts& is = reader_.clients()[client];
    const ClientFacts& holds = model_.clients()[client];
    if (stale_records_[client] != 0) continue;
    if (is.is_open == holds.is_open && is.tokens == holds.tokens &&
        is.resources == holds.resources && is.session == holds.session)
      continue;
    whole_.clear();
    model_.append_client_record(whole_, client);
    return fail(Checker::rows,
                compose({"a record of client ", Digits(handle_of(client)), " with ", whole_}),
                records_[client]);
  }
  return true;
}

/// Called while the hub is empty. What it keeps is proportional to the largest number of objects of
/// each kind that it ever held, since tables grow by doubling and do not shrink, and to its longest
/// texts.
bool Trial::check_memory() {
  constexpr long long empty_bytes_max = 28 << 10;
  constexpr long long place_bytes_max = 512;
  u32 places = 0;
  for (const u32 peak : peaks_) places += std::bit_ceil(peak);
  const long long most = empty_bytes_max + place_bytes_max * places + 4 * peak_text_bytes_ +
                         8 * static_cast<long long>(peak_missed_bytes_);
  if (held_bytes_ <= most) return true;
  const Digits bytes(static_cast<u64>(most));
  return fail(Checker::memory,
              compose({"at most ", bytes, " bytes held by the empty hub, after at most ",
                       Digits(places), " places in use"}),
              compose({Digits(static_cast<u64>(held_bytes_))}));
}

std::string Trial::show(const Effect& effect) const {
  std::string out = effect_names[static_cast<u8>(effect.kind)];
  switch (effect.kind) {
    case EffectKind::put:
    case EffectKind::touch:
      out += compose({" ", words_.tokens[effect.who].literal, " state ", Digits(effect.state),
                      " until ", Digits(effect.expires_at)});
      break;
    case EffectKind::erase:
      out += " " + words_.tokens[effect.who].literal;
      break;
    case EffectKind::attach:
    case EffectKind::send:
      out += compose({" ", Digits(handle_of(effect.who))});
      break;
    case EffectKind::close:
      out += compose({" ", Digits(handle_of(effect.who)), " code ", Digits(effect.status)});
      break;
    case EffectKind::respond:
      out += compose({" status ", Digits(effect.status)});
      break;
    case EffectKind::publish:
      out += compose({" (", Digits(model_.subscriber_count(effect.who)), " of them)"});
      break;
    case EffectKind::forward:
      break;
    case EffectKind::cancel:
      out += compose({" ", Digits(effect.expires_at)});
      break;
  }
  if (effect.code != ErrorCode::ok) out += compose({" with the code ", name_of(effect.code)});
  if (effect.size > 0) out += compose({" ", model_.text_of(effect)});
  if (effect.header[0] != '\0') out += compose({" with ", effect.header});
  return out;
}

std::string Trial::show(const Action& action) const {
  std::string out;
  trace::append_action(out, action);
  if (!out.empty()) out.pop_back();
  return out;
}

}  // namespace sidekick::sim
