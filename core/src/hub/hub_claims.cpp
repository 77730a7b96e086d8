// Tokens with an engine: the engine keeps them, and knows which client of which hub holds each. A
// hub has only the tokens that its own clients hold or are about to hold, and those with messages
// to the app server under way.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

constexpr std::size_t tokens_per_call = 256;
constexpr std::size_t records_per_call = 16;
constexpr u32 reclaims_max = 4;

bool is_ok(const input::EngineAnswer& in) {
  return in.status == 0 && !in.values.empty() && in.values[0] == "ok";
}

}  // namespace

/// The name of the client for the engine; no other client of any hub has the same.
Bytes Hub::State::session_of(ClientSlot slot, TextArena& out) const {
  const Client& client = clients[slot];
  if (clients.has_session(slot)) return out.copy(client.session);
  if (!config.has_heartbeats()) return out.write({config.node, ".", Digits(client.id)}).finish();
  return out.write({Digits(begin_epoch), ".", Digits(client.serial)}).finish();
}

/// The session that holds this token, as the engine knows it. Empty: none of this hub.
Bytes Hub::State::session_of_token(TokenId id, TextArena& out) {
  const Token& token = tokens[id];
  if (is_held(token.state())) return session_of(token.holder(), out);
  if (token.claimant != none) return session_of(token.claimant, out);
  return token.lane == none ? Bytes() : out.copy(forwards.lane(token.lane).session);
}

/// POST /connection. A hub that gets no answer registers the token again.
void Hub::State::register_token(const Token& draft, Actions& out) {
  if (fail_if_refused(out)) return;
  if (const Findings* found = findings()) {
    if (found->claim == Findings::Claim::held) {
      return emit_respond(current.request, 409, ErrorCode::token_held,
                          "Conflict: a client holds this token; register a new token", out);
    }
    if (found->is_sent && !found->is_cut) {
      ++metrics[Metric::tokens_registered];
      return emit_respond(current.request, 200, ErrorCode::ok, "OK", out);
    }
  }
  const u32 shard = engine.shard_of(draft.key());
  if (!await_ready(shard, out) || !may_wait(1, out)) return;
  hand_over_first(shard, draft.key(), out);
  TextArena& text = out.text();
  const Bytes record = encode_token_record(text, draft);
  const Bytes args[] = {text.copy(draft.key()), record,
                        text.write({Digits(config.token_ttl_ms)}).finish()};
  Call call(Purpose::add, shard);
  call.waiters = {waiter()};
  call_script(std::move(call), "register", args, out);
  findings()->is_sent = true;
  findings()->is_cut = false;
}

void Hub::State::on_registered(const Call& call, const input::EngineAnswer& in) {
  const bool is_held = in.status == 0 && !in.values.empty() && in.values[0] == "held";
  if (is_held && parking.has(call.waiters.front()))
    parking[call.waiters.front().parked].findings.claim = Findings::Claim::held;
}

/// Returns whether this hub knows if the client may use the token. If not, the current message
/// waits, or fails. is_sure: asks the engine even if the client holds the token, since another hub
/// may have held it meanwhile.
bool Hub::State::await_claim(ClientSlot slot, Bytes key, bool is_sure, Actions& out) {
  // Also if this hub has the token: the engine may have refused to confirm the claim.
  if (fail_if_refused(out)) return false;
  if (Call* call = find_erase_of(key)) {
    // Another connection of this session has asked for the erase. Other clients may take the token
    // before the answer comes.
    if (may_wait(1, out)) call->waiters.push_back(waiter());
    return false;
  }
  const Findings* found = findings();
  const TokenId id = tokens.find(key);
  if (id != none && !is_unclaimed(id) && !(is_sure && may_use(id, slot))) return true;
  if (found != nullptr) {
    if (is_sure && found->claimed == key && !found->is_claim_cut) return true;
    if (found->claim == Findings::Claim::absent || found->claims > 1) return true;
    if (found->claims == 1 && now < found->retry_at) {
      // The close of its holder may be on its way to the other hub.
      wait_until(found->retry_at);
      return false;
    }
  }
  const u32 shard = engine.shard_of(key);
  if (!await_ready(shard, out) || !may_wait(1, out)) return false;
  hand_over_first(shard, key, out);
  if (Call* under_way = engine.find_call_of(key)) {
    under_way->waiters.push_back(waiter());
    return false;
  }
  // Before the claim: a later release of this token by the same session would undo it.
  flush_releases(shard, out);
  TextArena& text = out.text();
  const Bytes session = session_of(slot, text);
  const Bytes args[] = {text.copy(key), config.node, session,
                        text.write({Digits(config.engine_keep_ms)}).finish()};
  Call call(Purpose::claim, shard);
  call.waiters = {waiter()};
  call.token = key;
  call.session = session;
  call_script(std::move(call), "claim", args, out);
  return false;
}

/// Whether messages of a client that has left are under way: other hubs have to wait for them.
bool Hub::State::is_draining(TokenId id) const {
  return is_unclaimed(id) && tokens[id].lane != none;
}

/// Whether no client of this hub has or wants the token.
bool Hub::State::is_unclaimed(TokenId id) const {
  return tokens[id].state() == TokenState::free && tokens[id].claimant == none;
}

/// The answer is for the first waiter, which has asked; the others ask again.
void Hub::State::on_claimed(const Call& call, const input::EngineAnswer& in, Actions& out) {
  const bool is_here = parking.has(call.waiters.front());
  Findings* found = is_here ? &parking[call.waiters.front().parked].findings : nullptr;
  const TokenId known = tokens.find(call.token);
  if (found != nullptr && std::exchange(found->is_claim_cut, false)) found->claimed.clear();
  if (in.status != 0) return;
  if (in.values.size() != 5 || in.values[0] != "ok") {
    const bool is_held_elsewhere = !in.values.empty() && in.values[0] == "held";
    const bool is_ours = known != none && session_of_token(known, out.text()) == call.session;
    if (is_ours && is_held_elsewhere) lose(known, out);
    if (found == nullptr) return;
    ++found->claims;
    if (is_ours && !is_held_elsewhere) return;  // in doubt
    found->claim = is_held_elsewhere ? Findings::Claim::held : Findings::Claim::absent;
    found->retry_at = now + config.engine_retry_ms;
    return;
  }
  // The next claim finds that this session has had it all the time.
  if (known != none && in.values[4] != "1") tokens.outdate_sends(known);
  if (found == nullptr)  // the client has left
    return refuse_claim(call.token, call.session);
  const ClientSlot slot = parking[call.waiters.front().parked].client;
  found->claimed = call.token;
  found->is_erased = false;  // that token is gone: this one was registered after it
  if (known != none) {
    if (tokens[known].state() == TokenState::free) tokens[known].claimant = slot;
    return;
  }
  TokenRecord record;
  u64 registered = 0;
  if (!decode_token_record(in.values[1], out.text(), record) ||
      !decode_stamp(in.values[2], registered)) {
    found->claim = Findings::Claim::absent;  // damaged: the client has to request another token
    return release_claim(call.token, call.session, unused_keep_ms());
  }
  name_channel_topic(topic_name, record.scope);
  Token draft = Tokens::draft(call.token, record.scope, topic_name, record.context);
  const bool has_slot = tokens.count() < config.tokens_max;
  if (!has_slot || tokens.store_bytes() + Tokens::cost_of(draft) > config.token_store_bytes_max) {
    found->refused = has_slot ? Findings::Refused::token_store : Findings::Refused::tokens_max;
    return release_claim(call.token, call.session, unused_keep_ms());
  }
  const TokenId id = tokens.add(std::move(draft), now + config.engine_keep_ms);
  tokens[id].registered_at = registered;
  tokens[id].claimant = slot;  // stored once this client takes it
}

/// Whether another hub has the token or may have it, perhaps for the same session.
bool Hub::State::is_in_doubt(const Call& call, const input::EngineAnswer& in, Actions& out) {
  if (call.purpose == Purpose::erase) return in.status == 0 ? !is_ok(in) : call.is_doubted;
  if (call.purpose != Purpose::claim) return false;
  if (call.is_doubted) return true;
  // An engine that has lost its data does not know the token, and gets it back.
  const TokenId id = tokens.find(call.token);
  return in.status == 0 && !is_ok(in) && id != none &&
         session_of_token(id, out.text()) == call.session;
}

/// Asks the engine who has the token. The waiters of this claim or erase wait for the answer.
/// Returns false if there is nothing to ask.
bool Hub::State::confirm(const Call& call, Actions& out) {
  const TokenId id = tokens.find(call.token);
  if (id == none) return false;
  tokens[id].is_doubted = true;
  return call_reclaim(call.shard, {&call.token, 1}, false, out, call.waiters);
}

/// Returns whether this hub knows of no doubt that the client has the token. If not, the current
/// message waits until the engine has said whose it is, or fails.
bool Hub::State::await_confirmation(TokenId id, Actions& out) {
  if (!tokens[id].is_doubted) return true;
  const std::string key(tokens[id].key());
  const u32 shard = engine.shard_of(key);
  if (!await_ready(shard, out) || !may_wait(1, out)) return false;
  const Waiter waits = waiter();
  if (Call* under_way = engine.find_call_of(key))
    under_way->waiters.push_back(waits);
  else
    call_reclaim(shard, {&key, 1}, false, out, {&waits, 1});
  return false;
}

/// The engine may have given the token to this client. If its message still waits, the message asks
/// again; otherwise the hub releases the token.
void Hub::State::on_claim_cut(const Call& call) {
  if (const TokenId id = tokens.find(call.token); id != none) tokens.outdate_sends(id);
  if (!parking.has(call.waiters.front()))
    return release_claim(call.token, call.session, unused_keep_ms());
  Findings& found = parking[call.waiters.front().parked].findings;
  found.claimed = call.token;
  found.is_claim_cut = true;
}

/// The message that claimed the token has ended: if it did not take the token, others may.
void Hub::State::end_claim(const Findings& found, ClientSlot slot, Actions& out) {
  if (found.claimed.empty()) return;
  const TokenId id = tokens.find(found.claimed);
  if (id != none && tokens[id].claimant == slot) return let_go(id, out);
  if (found.is_claim_cut)
    release_claim(found.claimed, session_of(slot, out.text()), unused_keep_ms());
}

/// The engine has given the token to this session, and no client wants it any more.
void Hub::State::refuse_claim(Bytes key, Bytes session) {
  const TokenId id = tokens.find(key);
  if (id == none || !is_draining(id)) return release_claim(key, session, unused_keep_ms());
  forwards.lane(tokens[id].lane).session = session;
}

/// A client of this hub no longer holds the token. While its messages are under way, no other hub
/// may have the token, so that all messages arrive in the order sent.
void Hub::State::let_go(TokenId id, Actions& out) {
  Token& token = tokens[id];
  const Bytes session = session_of_token(id, out.text());
  if (token.lane != none) {
    forwards.lane(token.lane).session = session;
    token.claimant = none;
    if (token.state() == TokenState::free) return;
    tokens.release(id, now + config.engine_keep_ms);
    return emit_touch_token(id, out);
  }
  const bool is_used = token.claimant == none;
  release_claim(token.key(), session, is_used ? config.token_resume_ms : unused_keep_ms());
  emit_erase_token(token.key(), false, out);
  forget_token(id);
}

/// A refused message does not shorten the life of its token. It may lengthen that life, because the
/// engine does not tell how much of it was left.
u32 Hub::State::unused_keep_ms() const {
  return std::max(config.token_ttl_ms, config.token_resume_ms);
}

/// Tells the engine at the end of this input, or as soon as the engine is back.
void Hub::State::release_claim(Bytes key, Bytes session, u32 keep_ms) {
  // The same session wants it again: its claim must not be undone.
  const Call* call = engine.find_call_of(key);
  if (call != nullptr && call->purpose == Purpose::claim && call->session == session) return;
  auto& releases = engine.shard(engine.shard_of(key)).releases;
  // Beyond that limit, a token is released when another hub asks for it.
  if (releases.size() < config.tokens_max)
    releases.push_back({std::string(key), std::string(session), keep_ms});
}

void Hub::State::flush_releases(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  if (shard.releases.empty() || !shard.is_ready()) return;
  TextArena& text = out.text();
  const auto releases = std::exchange(shard.releases, {});
  for (std::size_t next = 0; next < releases.size();) {
    Call call(Purpose::release, index);
    call.keep_ms = releases[next].keep_ms;
    std::vector<Bytes> args{config.node, text.write({Digits(call.keep_ms)}).finish()};
    for (; next < releases.size() && call.tokens.size() < tokens_per_call; ++next) {
      const auto& [key, session, keep_ms] = releases[next];
      if (keep_ms != call.keep_ms) break;
      const TokenId id = tokens.find(key);
      if (id != none && session_of_token(id, text) == session) continue;  // it has it again
      if (id != none && is_draining(id)) continue;  // `reclaim` says which session has it
      args.push_back(text.copy(key));
      args.push_back(text.copy(session));
      call.tokens.push_back(key);
      call.sessions.push_back(session);
    }
    if (!call.tokens.empty()) call_script(std::move(call), "release", args, out);
  }
}

Call* Hub::State::find_erase_of(Bytes key) {
  Call* call = engine.find_call_of(key);
  return call != nullptr && call->purpose == Purpose::erase ? call : nullptr;
}

/// Returns whether the engine has erased the token. If not, the current message waits, or fails.
bool Hub::State::await_erase(TokenId id, ClientSlot slot, Actions& out) {
  if (const Findings* found = findings(); found != nullptr && found->is_erased) return true;
  if (fail_if_refused(out)) return false;
  const Bytes key = tokens[id].key();
  const u32 shard = engine.shard_of(key);
  if (!await_ready(shard, out) || !may_wait(1, out)) return false;
  TextArena& text = out.text();
  const Bytes session = session_of(slot, text);
  const Bytes args[] = {text.copy(key), config.node, session,
                        text.write({Digits(config.engine_keep_ms)}).finish()};
  Call call(Purpose::erase, shard);
  call.waiters = {waiter()};
  call.token = key;
  call.session = session;
  call_script(std::move(call), "erase", args, out);
  return false;
}

void Hub::State::on_erased(const Call& call, const input::EngineAnswer& in, Actions& out) {
  const bool is_erased = is_ok(in);
  // The other waiters want to claim it.
  const bool is_here = parking.has(call.waiters.front());
  if (is_here) parking[call.waiters.front().parked].findings.is_erased = is_erased;
  // If the client has left, another connection of its session may have taken over.
  const TokenId id = tokens.find(call.token);
  const bool is_lost =
      is_erased && !is_here && id != none && session_of_token(id, out.text()) == call.session;
  if (is_lost) lose(id, out);
}

/// Another client has the token, or it was erased.
void Hub::State::lose(TokenId id, Actions& out) {
  const Token& token = tokens[id];
  if (is_held(token.state())) {
    const ClientSlot slot = token.holder();
    end_subscription(id, slot);
    std::erase(clients[slot].tokens, id);
    const Bytes key = out.text().copy(token.key());
    emit_attach(slot, ClientChange::tokens_gone, {&key, 1}, out);
    emit_error(slot, 0, Blame::client, token.channel(), token.params(),
               "token lost: another connection holds it, or it was erased", ErrorCode::token, out);
  }
  emit_erase_token(token.key(), false, out);
  forget_token(id);
}

/// Asks a shard about all of its tokens that this hub has.
void Hub::State::reclaim(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  if (shard.reclaim_deadline != none) deadlines.remove(shard.reclaim_deadline);
  shard.reclaim_deadline = deadlines.add({next_reclaim(), Due::reclaim, index, index});
  if (!shard.is_ready()) return;
  shard.reclaiming.clear();
  shard.reclaimed = 0;
  for (const Token& token : tokens.slots()) {
    if (!token.key().empty() && engine.shard_of(token.key()) == index)
      shard.reclaiming.emplace_back(token.key());
  }
  reclaim_next(index, out);
}

void Hub::State::reclaim_next(u32 index, Actions& out) {
  Shard& shard = engine.shard(index);
  while (shard.reclaims < reclaims_max && shard.reclaimed < shard.reclaiming.size()) {
    std::vector<std::string> keys;
    while (keys.size() < tokens_per_call && shard.reclaimed < shard.reclaiming.size())
      keys.push_back(std::move(shard.reclaiming[shard.reclaimed++]));
    call_reclaim(index, keys, false, out);
  }
  if (shard.reclaimed == shard.reclaiming.size()) shard.reclaiming = {};
}

/// Returns false if there is nothing to ask: this hub has none of these tokens.
bool Hub::State::call_reclaim(u32 index, std::span<const std::string> keys, bool has_records,
                              Actions& out, std::span<const Waiter> waiters) {
  TextArena& text = out.text();
  Call call(Purpose::reclaim, index);
  call.waiters.assign(waiters.begin(), waiters.end());
  std::vector<Bytes> args{config.node, text.write({Digits(config.engine_keep_ms)}).finish()};
  for (const std::string& key : keys) {
    if (Call* claim = engine.find_call_of(key); claim && claim->purpose == Purpose::claim) {
      claim->is_doubted = true;  // it may pass to another client of this hub: ask afterwards
      continue;
    }
    const TokenId id = tokens.find(key);
    const Bytes session = id == none ? Bytes() : session_of_token(id, text);
    if (session.empty()) continue;
    args.push_back(text.copy(key));
    args.push_back(session);
    args.push_back(has_records ? encode_token_record(text, tokens[id]) : Bytes());
    call.tokens.push_back(key);
    call.sessions.emplace_back(session);
  }
  if (call.tokens.empty()) return false;
  ++engine.shard(index).reclaims;
  call_script(std::move(call), "reclaim", args, out);
  return true;
}

/// The engine may have erased the token, so that others could register and take it.
void Hub::State::on_erase_cut(const Call& call) {
  if (const TokenId id = tokens.find(call.token); id != none) tokens[id].is_doubted = true;
}

/// The engine may have given them back to this hub, and does not say so once more.
void Hub::State::on_reclaim_cut(const Call& call) {
  for (const std::string& key : call.tokens)
    if (const TokenId id = tokens.find(key); id != none) tokens.outdate_sends(id);
}

/// An answer applies only while the session that the hub asked for has the token.
void Hub::State::on_reclaimed(const Call& call, const input::EngineAnswer& in, Actions& out) {
  --engine.shard(call.shard).reclaims;
  std::vector<std::string> absent;
  const std::size_t count = in.status == 0 ? in.values.size() : 0;
  for (std::size_t i = 0; i < std::min(count, call.tokens.size()); ++i) {
    const std::string& key = call.tokens[i];
    const TokenId id = tokens.find(key);
    const Bytes state = in.values[i];
    const bool is_gone = state == "1" || state == "2";
    if (id == none || session_of_token(id, out.text()) != call.sessions[i]) {
      // The hub has let the token go meanwhile, but the engine has given it to the hub again.
      if (state == "4") release_claim(key, call.sessions[i], config.token_resume_ms);
    } else if (Call* erase = find_erase_of(key); erase != nullptr && is_gone) {
      erase->is_doubted = true;  // it may have been erased for this session
    } else if (state == "1") {
      lose(id, out);
    } else if (state == "2") {
      const Token& moved = tokens[id];
      const ClientSlot slot = is_held(moved.state()) ? moved.holder() : moved.claimant;
      if (slot != none) {
        emit_close(slot, 4000, ErrorCode::taken_over,
                   "taken over by a new connection of this session", out);
      }
      const TokenId left = tokens.find(key);
      if (left != none) lose(left, out);
    } else if (state == "3") {
      absent.push_back(key);
    } else if (state == "0" || state == "4") {
      tokens[id].is_doubted = false;
      if (state == "4") tokens.forget_sends(id);
    }
  }
  for (std::size_t first = 0; first < absent.size(); first += records_per_call) {
    const auto part = std::span<const std::string>(absent).subspan(
        first, std::min(records_per_call, absent.size() - first));
    call_reclaim(call.shard, part, true, out);
  }
  reclaim_next(call.shard, out);
}

/// `asked SESSION TOKEN`: the engine refused the token to another hub. `taken SESSION TOKEN`:
/// another hub has the token now.
void Hub::State::on_hint(u32 index, bool is_taken, Bytes session, Bytes key, Actions& out) {
  if (!engine.shard(index).is_ready()) return;
  if (Call* call = engine.find_call_of(key)) {
    call->is_doubted = call->is_doubted || (is_taken && call->session == session);
    return;
  }
  const TokenId id = tokens.find(key);
  const bool is_ours = id != none && session_of_token(id, out.text()) == session;
  if (is_ours && is_taken) {
    const std::string lost(key);
    call_reclaim(index, {&lost, 1}, false, out);
  } else if (!is_ours && !is_taken) {
    release_claim(key, session, config.token_resume_ms);  // a release was lost
  }
}

}  // namespace sidekick
