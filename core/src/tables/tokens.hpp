// Channel tokens: who may use which, and until when. Knows clients as slot numbers only, and no
// sockets.
// Their states: token_states.def.
#pragma once

#include <memory>
#include <string>

#include "base/deadlines.hpp"
#include "base/hash_index.hpp"
#include "tables/sends.hpp"
#include "tables/token_states.hpp"
#include "tables/topics.hpp"
#include "wire/message.hpp"

namespace sidekick {

using TokenId = u32;

class Token {
 public:
  Bytes key() const { return part(0, key_end_); }
  Bytes channel() const {
    return part(key_end_, channel_end_);
  }  ///< as an ION string, with its quotes
  Bytes params() const { return part(channel_end_, params_end_); }  ///< as an ION object
  Bytes topic() const { return part(params_end_, topic_end_); }     ///< the name
  Bytes context() const {
    return part(topic_end_, static_cast<u32>(text_.size()));
  }  ///< as written; empty: none

  TokenState state() const { return state_; }
  u32 holder() const { return holder_; }  ///< while held
  bool is_held_by(u32 client) const { return is_held(state_) && holder_ == client; }
  Millis expires_at() const { return expires_at_; }

  u32 lane = none;          ///< the queue of its forwards, if any
  TopicId topic_id = none;  ///< while subscribed
  u32 claimant = none;      ///< while free: the client whose message waits, and only it may use it
  bool is_doubted = false;  ///< before it is used, the engine is asked whose it is

  /// Whether this hub knows every message that was sent with it: it was registered here, and one
  /// session has held it since.
  bool is_known_here = false;
  u64 registered_at = 0;                               ///< the position then; 0: before this hub
  const Sends* sends() const { return sends_.get(); }  ///< nullptr: no message with an id
  u64 session_hash() const { return session_hash_; }   ///< of its latest holder; 0: none yet

 private:
  friend class Tokens;

  Bytes part(u32 from, u32 to) const { return Bytes(text_.data() + from, to - from); }

  std::string text_;  // all five parts, in one allocation
  u32 key_end_ = 0;
  u32 channel_end_ = 0;
  u32 params_end_ = 0;
  u32 topic_end_ = 0;
  TokenState state_ = TokenState::gone;
  u32 holder_ = none;
  Millis expires_at_ = 0;
  u32 deadline_ = none;
  u64 session_hash_ = 0;
  std::unique_ptr<Sends> sends_;
};

class Tokens {
 public:
  Tokens(u64 hash_seed, Deadlines& deadlines) : hash_seed_(hash_seed), deadlines_(deadlines) {}

  TokenId find(Bytes key) const;
  Token& operator[](TokenId id) { return tokens_[id]; }
  const Token& operator[](TokenId id) const { return tokens_[id]; }

  /// Creates a token without storing it, so that its cost can be checked first.
  static Token draft(Bytes key, const Scope& scope, Bytes topic, Bytes context);

  /// Stores a token. Its key must not be stored yet.
  TokenId add(Token draft, Millis expires_at, TokenEvent event = TokenEvent::add);

  // Each is the event of its name.
  void take(TokenId id, u32 client);
  void subscribe(TokenId id, TopicId topic);
  void claim(TokenId id, u32 client);
  void release(TokenId id, Millis expires_at);
  void pass(TokenId id, u32 client);
  void erase(TokenId id);

  /// It is free, and expires later.
  void prolong(TokenId id, Millis expires_at);

  /// A client of this session holds it. Forgets the ids and outcomes of another session.
  void set_session(TokenId id, u64 session_hash);

  // The life of a message with an id; begin_send returns the serial of the token's sends.
  u64 begin_send(TokenId id, u64 message_id);
  void end_send(TokenId id, Sends::Ending ending);

  /// Other hubs may have had the token meanwhile, for the same session.
  void outdate_sends(TokenId id) {
    if (tokens_[id].sends_ != nullptr) tokens_[id].sends_->outdate();
  }
  /// Forgets what was sent with it: other hubs may have sent messages meanwhile.
  void forget_sends(TokenId id);

  /// The topic of a token that was claimed while subscribed.
  void set_topic(TokenId id, TopicId topic) { tokens_[id].topic_id = topic; }

  u32 count() const { return tokens_.size(); }
  /// Slots without a key are unused.
  const std::vector<Token>& slots() const { return tokens_.slots(); }

  /// The quantity that token_store_bytes_max limits.
  u64 store_bytes() const { return store_bytes_; }
  static u64 cost_of(const Token& token) {
    return token.text_.size() + 256 + (token.sends_ == nullptr ? 0 : token.sends_->bytes());
  }

 private:
  u64 hash(Bytes key) const { return hash_bytes(hash_seed_, key); }
  /// The only place where a state changes.
  static void step(Token& token, TokenEvent event) {
    token.state_ = next_state(token.state_, event);
  }
  void hold(Token& token, u32 client);
  void expect_until(TokenId id, Millis expires_at);
  void clear_deadline(Token& token);

  u64 hash_seed_;
  Deadlines& deadlines_;
  Pool<Token> tokens_;
  HashIndex index_;
  u64 store_bytes_ = 0;
  u64 sends_started_ = 0;
};

}  // namespace sidekick
