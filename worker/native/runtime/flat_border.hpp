// The flat blocks of sidekick_abi.h, in and out: walks the shapes that are made from border.def,
// and names no field itself. Trusts nothing that the module says about its own memory.
#pragma once

#include <span>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick::host {

/// How many bytes the block of an input takes.
u64 input_block_bytes(const Input& input);

/// Writes that block; `out` has exactly as many bytes.
void encode_input(Millis now, const Input& input, char* out);

/// Replaces `actions` with what the block at `address` holds; they point into `memory`. Throws Trap
/// where it leaves the memory.
void decode_actions(std::span<const char> memory, u32 address, std::vector<Action>& actions);

}  // namespace sidekick::host
