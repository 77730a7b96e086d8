// Turns the meaning of an op into the bytes on the wire. The inverse of the core's decoder, written
// without it.
#pragma once

#include "sidekick/border.hpp"
#include "words.hpp"

namespace sidekick::sim {

/// The frame of a client, or the body of a request. Replaces `out`.
void write_message(std::string& out, const Op& op, const Words& words);

/// The flaw that the message of this op really has: none if its verb has no place for it.
Flaw flaw_of(const Op& op);

/// Whether it has a `hello` that the hub looks at.
bool says_hello(const Op& op);

/// As a hub names its epoch: in base 36, and how far it is ahead.
void append_epoch(std::string& out, const EpochFacts& epoch);

/// Whether its message is UTF-8.
bool is_utf8(const Op& op);

/// The header lines of a client's request for its socket. Replaces `out`.
void write_knock(std::string& out, const Op& op);

/// The subprotocol that it offers first; empty: none.
const char* protocol_of(const Op& op);

/// Origins of pages; `allowed_by`: a bit for each of `allowed_origins` that allows it.
struct OriginFacts {
  Bytes origin;
  u8 allowed_by;
};
inline constexpr u32 origin_count = 13;
extern const OriginFacts origins[origin_count];

/// The body with which the app server answers a forward. Replaces `out`.
void write_reply(std::string& out, Reply reply, const Config& config);
u32 status_of(const Op& op);
Outcome outcome_of(Reply reply);

/// The length of the message of Reply::edge_fault.
u32 edge_message_bytes(const Config& config);

}  // namespace sidekick::sim
