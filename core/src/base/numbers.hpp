// Reads numbers that are written in digits. The other direction: Digits, in text.hpp.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick {

/// Reads 1 to `digits_max` digits of a base up to 36, in lower case and without a leading zero.
/// Returns false if `text` is anything else.
bool decode_number(Bytes text, u32 base, u32 digits_max, u64& out);

}  // namespace sidekick
