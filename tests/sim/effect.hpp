// The effects that the model demands of one input. Each must be matched by one action.
#pragma once

#include "op.hpp"
#include "sidekick/border.hpp"

namespace sidekick::sim {

/// The checkers. Each has a mutation of the core that it must catch: mutations/.
#define SIDEKICK_SIM_CHECKERS(X)                                                                  \
  X(one_holder, "no token is used by two clients at once")                                        \
  X(own_scope, "a token is valid for its own channel and params only")                            \
  X(own_context, "a context never crosses tokens")                                                \
  X(subscribed_only, "nothing is delivered to clients that are not subscribed, or no longer")     \
  X(delivered, "accepted messages reach every subscriber once, in order")                         \
  X(forward_order, "messages of one token reach the app server in the order sent, one at a time") \
  X(record_first, "nothing is sent before the record it depends on is written")                   \
  X(restore_same, "a hub restored at any point continues with the same bytes")                    \
  X(takeover, "a connection takes over its session from the one before, with its tokens")         \
  X(ids, "a reply or error has the id of its message")                                            \
  X(positions, "positions name the time and epoch above which everything is later")               \
  X(recovered,                                                                                    \
    "a client that reconnects is told all that it missed, or that something is missing")          \
  X(acks, "a send is answered truthfully, and forwarded once however often it is repeated")       \
  X(rows, "the stored rows match the state")                                                      \
  X(nothing_left, "nothing remains of closed clients and expired tokens")                         \
  X(limits, "every limit holds, and nothing below it is rejected")                                \
  X(expiry, "everything due has expired, and nothing else")                                       \
  X(timer, "a timer is set for every deadline")                                                   \
  X(memory, "memory does not grow over many lives")                                               \
  X(answers, "every message and request gets the answer the protocol demands")                    \
  X(answered_once, "every request is answered once, in its own call or a later one")              \
  X(codes, "every error has the code of its kind")                                                \
  X(admitted, "sockets open and bodies are read only as admission allows")                        \
  X(stored, "nothing is confirmed that could not be stored")                                      \
  X(drained, "while a Sidekick drains, sockets close at a steady rate, idle ones first")          \
  X(own_hub, "answers to forwards of an earlier hub change nothing")                              \
  X(contract, "every host can perform the actions")                                               \
  X(shared_same, "a hub with an engine does the same as one without")                             \
  X(alive, "no legal input makes the hub trap")

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

enum class EffectKind : u8 {
  put,
  touch,
  erase,
  attach,
  send,
  publish,
  respond,
  forward,
  close,
  cancel
};

/// Which subscribers of a topic a publish is for.
enum class Audience : u8 { all, plain, hello };

struct Effect {
  EffectKind kind;
  bool is_met = false;
  bool is_error = false;    ///< send: the text has a pattern of the error message
  bool is_durable = false;  ///< put, touch, erase, attach
  u8 state = 0;             ///< put, touch
  ErrorCode code = ErrorCode::ok;
  u32 who = 0;     ///< token, client, or for a publish the topic (see Model::subscribers)
  u32 status = 0;  ///< respond: status; close: code; forward: the message's flight; attach: 1:
                   ///< erased, 2: rewritten; publish: of Audience
  u32 text = 0;    ///< offset of its bytes in Model::text
  u32 size = 0;
  u32 pattern_size = 0;     ///< send: size of the pattern before the tail; see `matches`
  u32 tail_size = 0;        ///< send: what follows the pattern
  u64 expires_at = 0;       ///< put, touch; cancel: the id of the forward
  const char* header = "";  ///< respond

  bool is_stored() const { return kind <= EffectKind::attach; }
};

/// Returns whether `text` matches `pattern`: `#` stands for a number, `*` for a few words without a
/// secret, everything else for itself. `is_quoted`: `text` is the content of an ION string.
bool matches(Bytes pattern, Bytes text, bool is_quoted);

}  // namespace sidekick::sim
