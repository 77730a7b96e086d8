// What the model demands of one input: consequences, each of which must be matched by one action.
#pragma once

#include "op.hpp"

namespace sidekick::sim {

/// Who speaks up. Each has a mutation of the core that it must catch: mutations/.
#define SIDEKICK_SIM_CHECKERS(X)                                                                  \
  X(one_holder, "no token is used by two clients at once")                                        \
  X(own_scope, "a token speaks in its own channel and params only")                               \
  X(own_context, "a context never crosses tokens")                                                \
  X(subscribed_only, "nothing is delivered to who is not subscribed, or not any more")            \
  X(delivered, "what is accepted is delivered to every subscriber, once, in order")               \
  X(forward_order, "messages of one token reach the app server in the order sent, one at a time") \
  X(record_first, "nothing is told before the record it depends on is written")                   \
  X(restore_same, "a hub restored at any point goes on with the same bytes")                      \
  X(rows, "what is stored tells what holds")                                                      \
  X(nothing_left, "nothing is left of closed clients and expired tokens")                         \
  X(limits, "every limit holds, and nothing below it is refused")                                 \
  X(expiry, "what is due is over, and nothing before")                                            \
  X(timer, "while something is due some day, a timer is set for it")                              \
  X(memory, "memory does not grow over many lives")                                               \
  X(answers, "every message and request is answered as the protocol says, once, to who asked")    \
  X(contract, "actions are such as any host can perform")                                         \
  X(alive, "nothing that a peer or a host may do makes the hub trap")

enum class Checker : u8 {
#define X(name, promise) name,
  SIDEKICK_SIM_CHECKERS(X)
#undef X
};
inline constexpr const char* checker_names[] = {
#define X(name, promise) #name,
    SIDEKICK_SIM_CHECKERS(X)
#undef X
};
inline constexpr const char* checker_promises[] = {
#define X(name, promise) promise,
    SIDEKICK_SIM_CHECKERS(X)
#undef X
};

enum class EffectKind : u8 { put, touch, erase, attach, send, publish, respond, forward, close };

struct Effect {
  EffectKind kind;
  bool is_met = false;
  bool is_error =
      false;       ///< send: the end of the text is a pattern of the message that ends the error
  u8 state = 0;    ///< put, touch
  u32 who = 0;     ///< token, client, or for a publish the topic (see Model::subscribers)
  u32 status = 0;  ///< respond: status; close: code; forward: the message's flight
  u32 text = 0;    ///< where its bytes stand in Model::text
  u32 size = 0;
  u32 pattern_size = 0;     ///< send: so many of the last of them; see `matches`
  u64 expires_at = 0;       ///< put, touch
  const char* header = "";  ///< respond

  bool is_durable() const { return kind <= EffectKind::attach; }
};

/// Whether `text` is what `pattern` says: `#` stands for a number, `*` for a few words of which
/// none is a secret, all else for itself. `is_quoted`: the text is what stands between the quotes
/// of an ION string.
bool matches(Bytes pattern, Bytes text, bool is_quoted);

}  // namespace sidekick::sim
