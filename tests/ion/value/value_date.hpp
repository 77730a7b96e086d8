// Dates in ECMAScript's format: text to milliseconds since the Unix epoch, and back. Used by
// ion::Value only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sidekick/base.hpp"

namespace sidekick::ion {

/// Reads the date-time string format of ECMAScript (section "Date Time String Format") and nothing
/// else: an existing calendar date, `T24:00` only at the end of a day, a fraction of exactly three
/// digits, within ±8.64e15 ms. Without an offset it is read as UTC, and must be one day inside the
/// bounds.
std::optional<std::int64_t> date_from_text(Bytes text);

/// The result of `Date.prototype.toISOString`.
std::string date_to_text(std::int64_t ms);

}  // namespace sidekick::ion
