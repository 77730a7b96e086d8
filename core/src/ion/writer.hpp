// Writes ION strings as `ION.stringify` does, which is the JSON form.
#pragma once

#include "sidekick/base.hpp"

namespace sidekick::ion {

/// Appends `text` (UTF-8, lone surrogates as WTF-8) as a quoted string. Defined for std::string and
/// TextArena.
template <class Out>
void append_string(Out& out, Bytes text);

/// Returns how many bytes append_string would append.
u64 encoded_size(Bytes text);

}  // namespace sidekick::ion
