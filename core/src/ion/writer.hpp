// Writes ION strings as `ION.stringify` does, which is the JSON form.
#pragma once

#include <span>

#include "sidekick/text.hpp"

namespace sidekick::ion {

/// Appends `text` (UTF-8, lone surrogates as WTF-8) as a quoted string. Defined for std::string and
/// TextArena.
template <class Out>
void append_string(Out& out, Bytes text);

/// Appends `["a", "b"]`.
void append_strings(TextArena& out, std::span<const Bytes> texts);

/// Returns how many bytes append_string would append.
u64 encoded_size(Bytes text);

}  // namespace sidekick::ion
