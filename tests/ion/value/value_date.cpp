#include "value/value_date.hpp"

#include "value/value.hpp"

namespace sidekick::ion {
namespace {

constexpr std::int64_t day_ms = 86'400'000;

constexpr bool is_leap(std::int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr std::int64_t days_of_month(std::int64_t year, std::int64_t month) {
  constexpr std::int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

constexpr std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

/// Days from 1970-01-01 to January 1st of `year`, in the proleptic Gregorian calendar.
constexpr std::int64_t days_to_year(std::int64_t year) {
  const std::int64_t before = year - 1;
  return 365 * (year - 1970) +
         (floor_divide(before, 4) - floor_divide(before, 100) + floor_divide(before, 400)) - 477;
}

static_assert(days_to_year(1970) == 0 && days_to_year(1973) == 1096 && days_to_year(2000) == 10957);

/// Reads from left to right; a missing part sets `failed`.
struct Scanner {
  Bytes rest;
  bool failed = false;

  bool take(char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!take(c)) failed = true;
  }

  std::int64_t digits(int count) {
    std::int64_t number = 0;
    for (; count > 0; --count) {
      if (rest.empty() || rest.front() < '0' || rest.front() > '9') {
        failed = true;
        return 0;
      }
      number = number * 10 + (rest.front() - '0');
      rest.remove_prefix(1);
    }
    return number;
  }
};

std::int64_t scan_year(Scanner& scan) {
  if (scan.take('+')) return scan.digits(6);
  if (!scan.take('-')) return scan.digits(4);
  const std::int64_t year = scan.digits(6);
  if (year == 0) scan.failed = true;  // -000000 is not a year; +000000 is
  return -year;
}

struct Time {
  std::int64_t ms = 0;  ///< since midnight, minus the offset from UTC
  bool is_local = false;
};

Time scan_time(Scanner& scan) {
  const std::int64_t hour = scan.digits(2);
  scan.expect(':');
  const std::int64_t minute = scan.digits(2);
  std::int64_t second = 0;
  std::int64_t fraction = 0;
  if (scan.take(':')) {
    second = scan.digits(2);
    if (scan.take('.')) fraction = scan.digits(3);
  }
  const std::int64_t time_ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
  if (minute > 59 || second > 59 || time_ms > day_ms) scan.failed = true;

  if (scan.take('Z')) return {time_ms};
  const bool is_ahead = scan.take('+');
  if (!is_ahead && !scan.take('-')) return {time_ms, true};
  const std::int64_t offset_hour = scan.digits(2);
  scan.expect(':');
  const std::int64_t offset_minute = scan.digits(2);
  if (offset_hour > 23 || offset_minute > 59) scan.failed = true;
  const std::int64_t offset_ms = (offset_hour * 60 + offset_minute) * 60'000;
  return {is_ahead ? time_ms - offset_ms : time_ms + offset_ms};
}

void append_digits(std::string& out, std::int64_t number, int count) {
  std::string digits(static_cast<std::size_t>(count), '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, number /= 10) {
    *digit = static_cast<char>('0' + number % 10);
  }
  out += digits;
}

}  // namespace

std::optional<std::int64_t> date_from_text(Bytes text) {
  Scanner scan{text};
  const std::int64_t year = scan_year(scan);
  std::int64_t month = 1;
  std::int64_t day = 1;
  if (scan.take('-')) {
    month = scan.digits(2);
    if (scan.take('-')) day = scan.digits(2);
  }
  const Time time = scan.take('T') ? scan_time(scan) : Time{};
  if (scan.failed || !scan.rest.empty()) return std::nullopt;
  if (month < 1 || month > 12 || day < 1 || day > days_of_month(year, month)) return std::nullopt;

  std::int64_t days = days_to_year(year) + day - 1;
  for (std::int64_t m = 1; m < month; ++m) days += days_of_month(year, m);
  const std::int64_t ms = days * day_ms + time.ms;
  // A reader's time zone moves a local time by less than a day: it must be a date in each time
  // zone.
  const std::int64_t bound = Value::date_ms_max - (time.is_local ? day_ms : 0);
  if (ms < -bound || ms > bound) return std::nullopt;
  return ms;
}

std::string date_to_text(std::int64_t ms) {
  std::int64_t days = floor_divide(ms, day_ms);
  std::int64_t time_ms = ms - days * day_ms;
  // 400 years have 146,097 days; the guess is at most one year off.
  std::int64_t year = 1970 + floor_divide(days * 400, 146'097);
  while (days_to_year(year) > days) --year;
  while (days_to_year(year + 1) <= days) ++year;
  days -= days_to_year(year);
  std::int64_t month = 1;
  for (; days >= days_of_month(year, month); ++month) days -= days_of_month(year, month);

  std::string out;
  if (year >= 0 && year <= 9999) {
    append_digits(out, year, 4);
  } else {
    out += year < 0 ? '-' : '+';
    append_digits(out, year < 0 ? -year : year, 6);
  }
  out += '-';
  append_digits(out, month, 2);
  out += '-';
  append_digits(out, days + 1, 2);
  out += 'T';
  append_digits(out, time_ms / 3'600'000, 2);
  out += ':';
  append_digits(out, time_ms / 60'000 % 60, 2);
  out += ':';
  append_digits(out, time_ms / 1000 % 60, 2);
  out += '.';
  append_digits(out, time_ms % 1000, 3);
  out += 'Z';
  return out;
}

}  // namespace sidekick::ion
