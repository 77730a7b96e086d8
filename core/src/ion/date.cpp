// Dates: ECMA-262 "Date Time String Format". Checked with integers only; nothing is converted.
#include "sidekick/ion/reader.hpp"

namespace sidekick::ion {

namespace {

/// Takes exactly `count` digits from the front of `text`.
bool take_number(Bytes& text, u32 count, u32& number) {
  if (text.size() < count) return false;
  number = 0;
  for (u32 i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    number = number * 10 + static_cast<u32>(text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(Bytes& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

using i64 = std::int64_t;

bool is_leap(i64 year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

u32 days_in(i64 year, u32 month) {
  constexpr u8 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in 400-year eras that begin in
/// March.
i64 days_from_epoch(i64 year, u32 month, u32 day) {
  const i64 shifted = month <= 2 ? year - 1 : year;
  const i64 era = (shifted >= 0 ? shifted : shifted - 399) / 400;
  const i64 year_of_era = shifted - era * 400;
  const i64 day_of_year =
      (153 * (static_cast<i64>(month) + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719468;
}

}  // namespace

bool is_date(Bytes text) {
  u32 number = 0;
  i64 year = 0;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    const bool negative = text.front() == '-';
    text.remove_prefix(1);
    if (!take_number(text, 6, number)) return false;
    if (negative && number == 0) return false;  // "-000000" is excluded by the standard
    year = negative ? -static_cast<i64>(number) : static_cast<i64>(number);
  } else {
    if (!take_number(text, 4, number)) return false;
    year = number;
  }
  u32 month = 1;
  u32 day = 1;
  if (take(text, '-')) {
    if (!take_number(text, 2, month) || month < 1 || month > 12) return false;
    if (take(text, '-') && (!take_number(text, 2, day) || day < 1 || day > days_in(year, month)))
      return false;
  }

  i64 millis = 0;
  bool is_local = false;
  if (take(text, 'T')) {
    u32 hour = 0;
    u32 minute = 0;
    u32 second = 0;
    u32 fraction = 0;
    if (!take_number(text, 2, hour) || !take(text, ':') || !take_number(text, 2, minute))
      return false;
    if (take(text, ':')) {
      if (!take_number(text, 2, second)) return false;
      if (take(text, '.') && !take_number(text, 3, fraction)) return false;
    }
    if (hour > 24 || minute > 59 || second > 59) return false;
    if (hour == 24 && (minute | second | fraction) != 0) return false;
    millis = ((static_cast<i64>(hour) * 60 + minute) * 60 + second) * 1000 + fraction;
    if (take(text, 'Z')) {
    } else if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
      const bool east = text.front() == '+';
      text.remove_prefix(1);
      u32 offset_hour = 0;
      u32 offset_minute = 0;
      if (!take_number(text, 2, offset_hour) || !take(text, ':') ||
          !take_number(text, 2, offset_minute))
        return false;
      if (offset_hour > 23 || offset_minute > 59) return false;
      const i64 offset = (static_cast<i64>(offset_hour) * 60 + offset_minute) * 60000;
      millis += east ? -offset : offset;
    } else {
      is_local = true;
    }
  }
  if (!text.empty()) return false;

  millis += days_from_epoch(year, month, day) * 86400000;
  // The reader's time zone shifts a local time: one day of margin keeps it in range everywhere.
  const i64 bound = 8640000000000000 - (is_local ? 86400000 : 0);
  return millis >= -bound && millis <= bound;
}

}  // namespace sidekick::ion
