#include "base/numbers.hpp"

namespace sidekick {

bool decode_number(Bytes text, u32 base, u32 digits_max, u64& out) {
  out = 0;
  if (text.empty() || text.size() > digits_max || (text[0] == '0' && text.size() > 1)) return false;
  for (const char c : text) {
    const u32 digit = static_cast<u32>(c <= '9' ? c - '0' : c >= 'a' ? c - 'a' + 10 : -1);
    if (digit >= base) return false;
    out = out * base + digit;
  }
  return true;
}

}  // namespace sidekick
