#include "tables/tokens.hpp"

#include "ion/writer.hpp"

namespace sidekick {

TokenId Tokens::find(Bytes key) const {
  return index_.find(hash(key), [&](u32 id) { return tokens_[id].key() == key; });
}

Token Tokens::draft(Bytes key, const Scope& scope, Bytes topic, Bytes context) {
  Token token;
  std::string& text = token.text_;
  const auto end = [&text] { return static_cast<u32>(text.size()); };
  text.append(key);
  token.key_end_ = end();
  ion::append_string(text, *scope.channel);
  token.channel_end_ = end();
  append_params(text, scope);
  token.params_end_ = end();
  text.reserve(text.size() + topic.size() + context.size());
  text.append(topic);
  token.topic_end_ = end();
  text.append(context);
  return token;
}

TokenId Tokens::add(Token draft, Millis expires_at, TokenEvent event) {
  store_bytes_ += cost_of(draft);
  const TokenId id = tokens_.add();
  tokens_[id] = std::move(draft);
  step(tokens_[id], event);
  index_.add(hash(tokens_[id].key()), id);
  expect_until(id, expires_at);
  return id;
}

void Tokens::take(TokenId id, u32 client) {
  step(tokens_[id], TokenEvent::take);
  hold(tokens_[id], client);
}

void Tokens::claim(TokenId id, u32 client) {
  step(tokens_[id], TokenEvent::claim);
  hold(tokens_[id], client);
}

void Tokens::hold(Token& token, u32 client) {
  token.claimant = none;
  token.holder_ = client;
  token.expires_at_ = 0;
  clear_deadline(token);
}

void Tokens::subscribe(TokenId id, TopicId topic) {
  step(tokens_[id], TokenEvent::subscribe);
  tokens_[id].topic_id = topic;
}

void Tokens::release(TokenId id, Millis expires_at) {
  Token& token = tokens_[id];
  step(token, TokenEvent::release);
  token.holder_ = none;
  token.topic_id = none;
  clear_deadline(token);
  expect_until(id, expires_at);
}

void Tokens::prolong(TokenId id, Millis expires_at) {
  clear_deadline(tokens_[id]);
  expect_until(id, expires_at);
}

void Tokens::pass(TokenId id, u32 client) {
  step(tokens_[id], TokenEvent::pass);
  tokens_[id].holder_ = client;
}

void Tokens::set_session(TokenId id, u64 session_hash) {
  Token& token = tokens_[id];
  if (token.session_hash_ == session_hash) return;
  if (token.session_hash_ != 0) forget_sends(id);
  token.session_hash_ = session_hash;
}

void Tokens::forget_sends(TokenId id) {
  Token& token = tokens_[id];
  store_bytes_ -= cost_of(token);
  token.sends_.reset();
  token.is_known_here = false;
  store_bytes_ += cost_of(token);
}

u64 Tokens::begin_send(TokenId id, u64 message_id) {
  Token& token = tokens_[id];
  if (token.sends_ == nullptr) {
    token.sends_ = std::make_unique<Sends>(++sends_started_);
    store_bytes_ += Sends::own_bytes;
  }
  token.sends_->begin(message_id);
  return token.sends_->serial();
}

void Tokens::end_send(TokenId id, Sends::Ending ending) {
  Token& token = tokens_[id];
  store_bytes_ -= cost_of(token);
  token.sends_->end(std::move(ending));
  store_bytes_ += cost_of(token);
}

void Tokens::erase(TokenId id) {
  Token& token = tokens_[id];
  step(token, TokenEvent::erase);
  clear_deadline(token);
  store_bytes_ -= cost_of(token);
  index_.remove(hash(token.key()), id);
  tokens_.remove(id);
}

void Tokens::expect_until(TokenId id, Millis expires_at) {
  Token& token = tokens_[id];
  token.expires_at_ = expires_at;
  // Not by hash(): the tie-break must not depend on a hub's seed, or hosts could not be compared.
  token.deadline_ = deadlines_.add({expires_at, Due::token_expiry, hash_bytes(0, token.key()), id});
}

void Tokens::clear_deadline(Token& token) {
  if (token.deadline_ == none) return;
  deadlines_.remove(token.deadline_);
  token.deadline_ = none;
}

}  // namespace sidekick
