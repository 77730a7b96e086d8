// The native log in both formats, whatever a peer has put into a field.
#include "log.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <unistd.h>
#include <cstdio>
#include <utility>

namespace sidekick::host {

namespace {

using namespace std::string_literals;

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

/// The texts of tests/hosts/shared/support/hostile-texts.ts, and bytes that are not UTF-8.
const std::pair<const char*, std::string> hostile_texts[] = {
    {"end the string and the object", "\"}{\"level\":\"error\""},
    {"end the line", "a\n2026 error forged\r\n"},
    {"end the line as JavaScript and viewers see it", "a\u2028b\u2029c\u0085d"},
    {"turn the text around", "\u202eabc\u2066\u200f\u061c"},
    {"control a terminal", "\x1b[2J\u009b2J\x7f\b"},
    {"end a C string", "a\0b"s},
    {"be no Unicode: surrogates",
     "\xed\xa0\x80"
     "a\xed\xbf\xbf"},
    {"be no Unicode: a lone C1 control",
     "a\x9b"
     "2J"},
    {"be no Unicode: overlong", "\xc0\x8a\xe0\x80\x8a\xc1\xbf"},
    {"be no Unicode: cut", "a\xe2\x80"},
    {"be no Unicode: cut before the end of the string", "\xe2"},
    {"be no Unicode: beyond U+10FFFF", "\xf4\x90\x80\x80\xff"},
    {"escape the escape", "\\\"\\u000a\\"},
    {"be long", repeated("x\"\n", 22'000)},  // 64 KiB
    {"be long, and be cut within a character", "x" + repeated("\U0001f600", 20'000)},
};

/// In UTF-8: the characters above ASCII that terminals and viewers act on.
std::vector<std::string> acted_on() {
  std::vector<std::string> all = {"\u061c", "\u200e", "\u200f"};
  for (char last = '\x80'; last <= '\x9f'; ++last) all.push_back({'\xc2', last});
  for (char last = '\xa8'; last <= '\xae'; ++last) all.push_back({'\xe2', '\x80', last});
  for (char last = '\xa6'; last <= '\xa9'; ++last) all.push_back({'\xe2', '\x81', last});
  return all;
}

void check_is_harmless(std::string_view text) {
  for (const char byte : text) CHECK((static_cast<unsigned char>(byte) >= 0x20 && byte != 0x7f));
  for (const std::string& character : acted_on()) CHECK(text.find(character) == text.npos);
  CHECK(text.size() <= 3000);
}

/// The file of stderr, for as long as it lives: the log writes to the descriptor.
class Stderr {
 public:
  Stderr() : file_(std::tmpfile()), before_(dup(STDERR_FILENO)) {
    REQUIRE(file_ != nullptr);
    REQUIRE(dup2(fileno(file_), STDERR_FILENO) == STDERR_FILENO);
  }
  ~Stderr() {
    dup2(before_, STDERR_FILENO);
    close(before_);
    std::fclose(file_);
  }
  Stderr(const Stderr&) = delete;
  Stderr& operator=(const Stderr&) = delete;

  std::string text() const {
    std::string all;
    std::rewind(file_);
    for (int byte; (byte = std::fgetc(file_)) != EOF;) all += static_cast<char>(byte);
    return all;
  }

 private:
  std::FILE* const file_;
  const int before_;
};

/// One line of each level, with this text in two fields.
std::vector<std::string> logged(LogFormat format, const std::string& text) {
  const Stderr output;
  Log log(LogLevel::debug, format);
  const Log::Fields fields = {{"code", text}, {"reason", text}, {"count", 1}};
  log.error("x", fields);
  log.warn("x", fields);
  log.info("x", fields);
  log.debug("x", fields);
  log.flush();
  std::vector<std::string> lines(1);
  for (const char byte : output.text()) {
    if (byte == '\n')
      lines.emplace_back();
    else
      lines.back() += byte;
  }
  CHECK(lines.back().empty());
  lines.pop_back();
  return lines;
}

}  // namespace

TEST_CASE("a hostile text is quoted as one harmless string of JSON") {
  for (const auto& [what, text] : hostile_texts) {
    CAPTURE(what);
    const std::string quoted = quote_text(text);
    check_is_harmless(quoted);
    const auto read = nlohmann::json::parse(quoted, nullptr, false);
    REQUIRE(read.is_string());
    const bool is_unicode = std::string_view(what).find("be no Unicode") != 0;
    if (is_unicode && text.size() <= 300) CHECK(read == text);
    if (text.size() > 300) CHECK(read.get<std::string>().substr(0, 296) == text.substr(0, 296));
  }
}

TEST_CASE("harmless text stays as it is in its quotes") {
  for (const std::string text : {"", "a b", "caf\u00e9 \u20ac \u2020 \u2060 \U0001f600", "/socket"})
    CHECK(quote_text(text) == "\"" + text + "\"");
}

TEST_CASE("a field of the log that a peer has filled stays in its line, in both formats") {
  for (const auto& [what, text] : hostile_texts) {
    CAPTURE(what);
    for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
      const auto lines = logged(format, text);
      REQUIRE(lines.size() == 4);
      for (const std::string& line : lines) {
        check_is_harmless(line);
        if (format == LogFormat::text) continue;
        const auto object = nlohmann::json::parse(line, nullptr, false);
        REQUIRE(object.is_object());
        CHECK(object.size() == 6);
        CHECK(object["reason"] == nlohmann::json::parse(quote_text(text)));
        CHECK(object["count"] == 1);  // the fields behind it
      }
    }
  }
}

}  // namespace sidekick::host
