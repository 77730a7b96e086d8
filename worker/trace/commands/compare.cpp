// compare: two recordings of the same inputs, side by side. Their hash lines may be at different
// places, or be the only lines.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "command.hpp"
#include "files.hpp"
#include "members.hpp"
#include "progress.hpp"
#include "sidekick/text.hpp"
#include "timeline.hpp"
#include "trace/printable.hpp"
#include "trace/trace_line.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes header_begin = "{\"trace\":";

struct Hash {
  u64 hub = 0;
  u64 inputs = 0;
  u64 line = 0;
  std::string text;
};

class Side {
 public:
  explicit Side(const char* name) : path(name), stream_(name) {}

  /// The next line that is not a hash, empty at the end or on an error; hashes before it are added
  /// to `hashes`.
  const std::string& next() {
    while (error_.empty() && std::getline(stream_, line_)) {
      ++number;
      if (number == 1 && !line_.starts_with(header_begin)) {
        fail(compose(
            {"expected the first line of a trace, {\"trace\":2,...}, found ", shortened(line_)}));
      } else if (line_.empty()) {
        fail("expected a line of a trace, found an empty one");
      } else if (const std::string wrong = wrong_with_line(line_); !wrong.empty()) {
        fail(wrong);
      } else if (!line_.starts_with("{\"hash\":")) {
        hub_ += line_.starts_with(header_begin);
        return line_;
      } else {
        take_hash();
      }
    }
    if (stream_.has_failed()) error_ = compose({path, ": cannot be read to its end"});
    line_.clear();
    return line_;
  }

  const std::string& line() const { return line_; }
  const std::string& error() const { return error_; }
  bool is_whole() const { return !stream_.eof(); }

  const char* path;
  u64 number = 0;
  std::vector<Hash> hashes;

 private:
  void fail(Bytes what) { error_ = compose({path, ":", Digits(number), ": ", what}); }

  void take_hash() {
    const nlohmann::json hash = nlohmann::json::parse(line_, nullptr, false);
    const auto member = hash.find("hash");
    if (member != hash.end() && member->is_object() && member->contains("inputs") &&
        (*member)["inputs"].is_number_unsigned()) {
      hashes.push_back({hub_, number_of(*member, "inputs"), number, line_});
    } else if (is_whole()) {
      fail(compose({"expected {\"hash\":{\"inputs\":N,...}}, found ", shortened(line_)}));
    }  // else cut off
  }

  FileInput stream_;
  std::string line_;
  std::string error_;
  u64 hub_ = 0;
};

class Comparison {
 public:
  Comparison(Side& a, Side& b) : a_(a), b_(b) {}

  int run() {
    u64 lines = 0;
    for (;;) {
      a_.next();
      b_.next();
      for (const Side* side : {&a_, &b_}) {
        if (side->error().empty()) continue;
        progress::erase();
        return std::fprintf(stderr, "%s\n", side->error().c_str()), 2;
      }
      if (!hashes_agree()) return report_state();
      if (a_.line().empty() && b_.line().empty()) break;
      if (a_.line().empty() || b_.line().empty() || is_cut(a_, b_) || is_cut(b_, a_)) {
        progress::erase();
        std::printf("the same for %llu lines; then one ends\n",
                    static_cast<unsigned long long>(lines));
        return 0;
      }
      if (a_.line() != b_.line() && !are_headers()) return report_lines();
      ++lines;
    }
    std::printf("the same: %llu lines, %llu hashes\n", static_cast<unsigned long long>(lines),
                static_cast<unsigned long long>(compared_));
    return 0;
  }

 private:
  /// The last line of one, and only the beginning of the other's.
  static bool is_cut(const Side& one, const Side& other) {
    return !one.is_whole() && other.line().size() > one.line().size() &&
           other.line().starts_with(one.line());
  }

  /// Different hash seeds are no difference; different versions are reported.
  bool are_headers() const {
    if (!a_.line().starts_with(header_begin) || !b_.line().starts_with(header_begin)) return false;
    const nlohmann::json a = nlohmann::json::parse(a_.line(), nullptr, false);
    const nlohmann::json b = nlohmann::json::parse(b_.line(), nullptr, false);
    if (!a.is_object() || !b.is_object() || !a.contains("config") || !b.contains("config"))
      return false;
    const std::string core_a = shortened(text_of(a, "core"));
    const std::string core_b = shortened(text_of(b, "core"));
    if (core_a != core_b) {
      progress::erase();
      std::printf("recorded by core %s and by core %s\n", core_a.c_str(), core_b.c_str());
    }
    return a["config"] == b["config"];
  }

  /// Compares hashes after equally many inputs of the same hub; ignores hashes without a
  /// counterpart.
  bool hashes_agree() {
    std::size_t i = 0;
    std::size_t j = 0;
    for (; i < a_.hashes.size() && j < b_.hashes.size();) {
      const Hash& a = a_.hashes[i];
      const Hash& b = b_.hashes[j];
      if (a.hub != b.hub ? a.hub < b.hub : a.inputs < b.inputs) {
        ++i;
      } else if (a.hub != b.hub || a.inputs != b.inputs) {
        ++j;
      } else if (a.text == b.text) {
        agreed_a_ = a;
        agreed_b_ = b;
        ++compared_;
        ++i, ++j;
      } else {
        a_.hashes.erase(a_.hashes.begin(), a_.hashes.begin() + static_cast<std::ptrdiff_t>(i));
        b_.hashes.erase(b_.hashes.begin(), b_.hashes.begin() + static_cast<std::ptrdiff_t>(j));
        return false;
      }
    }
    // Drops hashes that can no longer have a counterpart, because both sides are past them.
    a_.hashes.erase(a_.hashes.begin(), a_.hashes.begin() + static_cast<std::ptrdiff_t>(i));
    b_.hashes.erase(b_.hashes.begin(), b_.hashes.begin() + static_cast<std::ptrdiff_t>(j));
    if (a_.hashes.size() > 1) a_.hashes.erase(a_.hashes.begin(), a_.hashes.end() - 1);
    if (b_.hashes.size() > 1) b_.hashes.erase(b_.hashes.begin(), b_.hashes.end() - 1);
    return true;
  }

  void report_agreed() const {
    if (compared_ == 0) {
      std::printf("no earlier hash is in both\n");
    } else {
      std::printf("the last hash that agrees: after input %llu, %s:%llu and %s:%llu\n",
                  static_cast<unsigned long long>(agreed_a_.inputs), a_.path,
                  static_cast<unsigned long long>(agreed_a_.line), b_.path,
                  static_cast<unsigned long long>(agreed_b_.line));
    }
  }

  int report_state() const {
    progress::erase();
    report_agreed();
    const Hash& a = a_.hashes.front();
    const Hash& b = b_.hashes.front();
    std::printf("the first that differs: after input %llu\n  %s:%llu: %s\n  %s:%llu: %s\n",
                static_cast<unsigned long long>(a.inputs), a_.path,
                static_cast<unsigned long long>(a.line), printable(a.text).c_str(), b_.path,
                static_cast<unsigned long long>(b.line), printable(b.text).c_str());
    return 1;
  }

  int report_lines() const {
    progress::erase();
    report_agreed();
    std::printf("the first line that differs:\n  %s:%llu: %s\n  %s:%llu: %s\n", a_.path,
                static_cast<unsigned long long>(a_.number), printable(a_.line()).c_str(), b_.path,
                static_cast<unsigned long long>(b_.number), printable(b_.line()).c_str());
    return 1;
  }

  Side& a_;
  Side& b_;
  Hash agreed_a_;
  Hash agreed_b_;
  u64 compared_ = 0;
};

}  // namespace

int compare(const Told& told) {
  if (!can_read(told.files[0]) || !can_read(told.files[1])) return 2;
  Side a(told.files[0]);
  Side b(told.files[1]);
  return Comparison(a, b).run();
}

}  // namespace sidekick::trace
