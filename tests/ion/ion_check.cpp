// Answers for the differential tests: one ION document per line of stdin, in hexadecimal digits,
// one answer per line:
//
//   <the hub's reader> TAB <ion::Value's reader> TAB <the value as ion::Value prints it, or
//   nothing>
//
// A reader's answer is `accept` or `reject: <why>`.
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

#include "sidekick/ion/reader.hpp"
#include "value/value.hpp"

namespace {

namespace ion = sidekick::ion;

constexpr sidekick::u32 depth_max = 256;

std::optional<std::string> decode_hex(const std::string& line) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  if (line.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(line.size() / 2);
  for (std::size_t i = 0; i < line.size(); i += 2) {
    const int high = digit(line[i]);
    const int low = digit(line[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

std::string ask_core(const std::string& text) {
  const ion::Verdict verdict = ion::validate(text, depth_max);
  return verdict.ok() ? "accept" : "reject: " + ion::describe(verdict, text, depth_max);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::string line;
  for (unsigned long number = 1; std::getline(std::cin, line); ++number) {
    const auto text = decode_hex(line);
    if (!text) {
      std::cerr << "line " << number
                << ": expected an even number of lower-case hexadecimal digits\n";
      return 2;
    }
    const ion::ParseResult parsed = ion::parse(*text, {depth_max});
    std::cout << ask_core(*text) << '\t';
    if (parsed.ok()) {
      std::cout << "accept\t" << ion::print(*parsed.value) << '\n';
    } else {
      std::cout << "reject: " << parsed.error.describe() << "\t\n";
    }
  }
  return 0;
}
