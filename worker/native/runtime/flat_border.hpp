// The flat blocks of sidekick_abi.h, in and out: walks the shapes generated from border.def, and
// names no field itself. Validates every address and length from the module.
#pragma once

#include <span>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick::host {

/// Size of an input's block in bytes.
u64 input_block_bytes(const Input& input);

/// Writes that block; `out` has exactly that size.
void encode_input(Millis now, const Input& input, char* out);

/// Replaces `actions` with those of the block at `address`; they point into `memory`. Throws Trap
/// if an address is outside the memory.
void decode_actions(std::span<const char> memory, u32 address, std::vector<Action>& actions);

}  // namespace sidekick::host
