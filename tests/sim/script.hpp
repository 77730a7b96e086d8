// Turns the meaning of an op into the bytes on the wire. The inverse of the core's decoder, written
// without it.
#pragma once

#include "words.hpp"

namespace sidekick::sim {

/// The frame of a client, or the body of a request. Replaces `out`.
void write_message(std::string& out, const Op& op, const Words& words);

/// The flaw that the message of this op really has: none if its verb has no place for it.
Flaw flaw_of(const Op& op);

/// The body with which the app server answers a forward. Replaces `out`.
void write_reply(std::string& out, Reply reply, const Config& config);
u32 status_of(const Op& op);

/// The length of the message of Reply::edge_fault.
u32 edge_message_bytes(const Config& config);

}  // namespace sidekick::sim
