// Turns what an op means into the bytes that go over the wire. The opposite of what the core's
// decoder does, and written without it.
#pragma once

#include "words.hpp"

namespace sidekick::sim {

/// The frame of a client, or the body of a request. Replaces `out`.
void write_message(std::string& out, const Op& op, const Words& words);

/// The flaw that the message of this op really has: one that its verb has no place for is none.
Flaw flaw_of(const Op& op);

/// The body with which the app server answers a forward. Replaces `out`.
void write_reply(std::string& out, Reply reply, const Config& config);
u32 status_of(const Op& op);

/// How long the message of Reply::edge_fault is.
u32 edge_message_bytes(const Config& config);

}  // namespace sidekick::sim
