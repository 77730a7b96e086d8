// One event in a simulated world, as its meaning and not as bytes, so that the model need not parse
// what the core parses, and a list of ops can be shrunk. script.cpp turns it into bytes. Names are
// indices into the world's Words.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::sim {

/// The last two follow from others: the end of a restore, and a store that has failed. Those up to
/// twin have weights.
enum class OpKind : u8 {
  open,
  close,
  frame,
  lag,
  http,
  answer,
  timer,
  restart,
  shut_down,
  twin,
  drain,
  restored,
  not_stored
};
inline constexpr const char* op_names[] = {"open",      "close",  "frame", "lag",
                                           "http",      "answer", "timer", "restart",
                                           "shut_down", "twin",   "drain"};

/// The kind of a frame or request.
enum class Verb : u8 {
  subscribe,
  unsubscribe,
  send,
  listen,
  unlisten,
  ping,
  connection,
  resources,
  message,
  health,
  ready
};
inline constexpr const char* verb_names[] = {"subscribe", "unsubscribe", "send",       "listen",
                                             "unlisten",  "ping",        "connection", "resources",
                                             "message",   "health",      "ready"};

/// Properties of a request that are checked before its body.
enum class Gate : u8 {
  open,
  other_secret,
  wrong_secret,
  no_secret,
  wrong_method,
  wrong_path,
  socket,
  too_large,
  count
};

/// How a client asks for its socket.
enum class Knock : u8 {
  asked,
  admitted_before,  ///< before others had opened theirs
  not_accepted,     ///< admitted, but the host could not accept the upgrade
};

/// What is wrong with the request for a socket, in the order in which it is checked.
enum KnockFlaw : u8 {
  wrong_socket_method = 1,
  wrong_upgrade = 2,
  upgrade_with_body = 4,
  wrong_version = 8,
  wrong_key = 16,
  wrong_protocols = 32,
};
inline constexpr u32 knock_flaw_count = 6;

/// The flaw of a frame or body. flaw_facts (words.cpp) says where each is checked and which error
/// it causes.
enum class Flaw : u8 {
  none,
  padded,  // padded: odd spelling, extra members, and still valid
  cut_off,
  garbage,
  bad_utf8,
  trailing,
  array,
  twice,
  no_type,
  unknown_type,
  type_number,
  no_token,
  token_number,
  empty_token,
  half_surrogate,
  no_channel,
  no_params,
  params_array,
  param_number,
  param_twice,
  no_resources,
  resources_object,
  resource_number,
  // Of the extension.
  id_zero,
  id_text,
  id_large,
  id_twice,
  hello_number,
  hello_short,
  hello_long,
  hello_odd,
  hello_twice,
  since_text,
  since_negative,
  since_twice,
  epoch_number,
  again_number,
  again_alone,  // without an id
  count
};

/// The app server's answer to a forward.
enum class Reply : u8 {
  done,
  client_fault,
  server_fault,
  sidekick_fault,
  edge_fault,  // relayed to the sender; edge: as long as allowed
  long_fault,
  odd_fault,
  half_fault,
  number_fault,
  list,
  trailing,
  garbage,  // malformed
  unreachable,
  broken_off,
  host_timeout,
  no_app_server,
  count
};

enum class Restart : u8 {
  hibernate,  ///< memory lost, sockets kept
  reset,      ///< all sockets lost, without a close event
  some_lost,  ///< each socket lost or not, as `serial` decides
  trap,       ///< like hibernate, but `client` is closed
};

/// The form of data and contexts.
enum class Shape : u8 { absent, object, text, number, nested, rich };

struct Payload {
  Shape shape = Shape::absent;
  u16 size = 0;    ///< bytes of a text; levels of a nested value
  u32 serial = 0;  ///< makes payloads distinguishable
};

/// Names one run of stamps: docs/protocol.md, "Positions".
struct EpochFacts {
  u64 hub = 0;
  u64 ahead_ms = 0;

  bool operator==(const EpochFacts&) const = default;
};

inline constexpr u16 no_cut = 0xFFFF;
inline constexpr u8 turn_max = 6;
inline constexpr u16 no_one = 0xFFFF;

struct Op {
  Millis now = 0;
  OpKind kind = OpKind::timer;
  Verb verb = Verb::ping;
  Flaw flaw = Flaw::none;
  Gate gate = Gate::open;
  Reply reply = Reply::done;
  Restart restart = Restart::hibernate;
  u8 config = 0;  ///< for the hub after a restart: Swarm::configs
  u8 order = 0;   ///< of the params
  Knock knock = Knock::asked;
  u8 knock_flaws = 0;  ///< of KnockFlaw
  u8 origin = 0;       ///< an index into `origins`
  bool is_text = true;
  u16 cut = no_cut;   ///< the host dies after this many actions and restarts from its store
  u16 fail = no_cut;  ///< the store fails from this action on; not_stored follows at once ...
  u8 turn = 0;        ///< ... or, if not 0, nothing of this and so many further ops is stored
  u16 client = 0;
  u16 token = 0;
  u16 scope = 0;
  u16 session = no_one;  ///< listen: says hello with this session
  u64 id = 0;            ///< of a frame; 0: none
  bool has_since = false;
  bool has_epoch = false;
  bool is_repeat = false;  ///< send: `again`
  u64 since = 0;           ///< subscribe, listen
  EpochFacts epoch;
  u16 first = 0, count = 0, stride = 0;  ///< resources: first, first + stride, ...
  u32 serial = 0;  ///< id of a send; the send an answer is for; bytes of a lag; the seed of a
                   ///< restart; the request of not_stored; the ms of a drain
  Payload payload;
};

inline bool uses_token(Verb verb) {
  return verb == Verb::subscribe || verb == Verb::unsubscribe || verb == Verb::send ||
         verb == Verb::connection;
}
inline bool is_probe(Verb verb) { return verb == Verb::health || verb == Verb::ready; }
inline bool uses_scope(Verb verb) {
  return verb == Verb::send || verb == Verb::connection || verb == Verb::message;
}
inline bool uses_resources(Verb verb) {
  return verb == Verb::listen || verb == Verb::unlisten || verb == Verb::resources;
}

}  // namespace sidekick::sim
