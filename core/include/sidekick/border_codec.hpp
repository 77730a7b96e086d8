// The flat blocks of wasm-bindings/sidekick_abi.h, both ways: what a host writes a module reads,
// and the other way round. Generated from border.def: no field is named here. Makes no decisions.
#pragma once

#include <span>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick::codec {

struct TimedInput {
  Millis now = 0;
  Input input;
  std::vector<Bytes> list;  ///< what the input's LIST field points to
};

/// The size in bytes of the block of an input.
u64 input_bytes(const Input& input);

/// Writes that block; `to` has room for it.
void encode_input(Millis now, const Input& input, char* to);

/// Reads the block of an input. Its bytes stay in `block`. Traps if the layout is wrong: that is a
/// bug of the host.
TimedInput decode_input(Bytes block);

/// Replaces `words` with the block of the actions. Addresses are 32-bit: traps in a build with
/// longer ones if they do not fit.
void encode_actions(const Actions& actions, std::vector<u32>& words);

/// Replaces `actions` with those of the block at `address` in the memory of a module; their bytes
/// stay in `memory`. Returns null, or what is wrong with the block: that is a bug of the module.
const char* decode_actions(std::span<const char> memory, u32 address, Actions& actions);

}  // namespace sidekick::codec
