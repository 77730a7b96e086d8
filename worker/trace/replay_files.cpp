#include "replay_files.hpp"

#include <cstdio>

#include "file_input.hpp"
#include "progress.hpp"
#include "trace/printable.hpp"
#include "trap_place.hpp"

namespace sidekick::trace {

namespace {

using Outcome = ReplayResult::Outcome;

unsigned long long number(u64 value) { return value; }

void print_cut(const char* path, u64 line, std::size_t due) {
  progress::erase();
  std::printf(
      "%s:%llu: the recording was cut off here; %zu more lines are due for its last input\n", path,
      number(line), due);
}

/// Prints first, then passes everything on to the witness.
class Reporter final : public Onlooker {
 public:
  Reporter(const char* path, Witness* witness) : path_(path), witness_(witness) {}

  void on_header(u64 line) override {
    if (witness_ != nullptr) witness_->on_header(line);
  }
  void on_input(u64 line, Millis now, const Input& input) override {
    set_trap_place(line);
    if (witness_ != nullptr) witness_->on_input(line, now, input);
  }
  void on_action(const std::string& line) override {
    if (witness_ != nullptr) witness_->on_action(line);
  }
  void on_cut(u64 line, std::size_t due) override { print_cut(path_, line, due); }
  void on_gap(u64 line, u64 lines) override {
    std::printf(
        "%s:%llu: a gap: %llu lines are missing after this one; another recording follows\n", path_,
        number(line), number(lines));
  }

 private:
  const char* path_;
  Witness* witness_;
};

void print_difference(const char* path, const ReplayResult& result, ReplayedHub& hub,
                      Witness* witness) {
  std::fprintf(stderr, "%s:%llu: differs from the trace\n  expected: %s\n  got:      %s\n", path,
               number(result.line), printable(result.expected).c_str(),
               printable(result.got).c_str());
  const std::string hash = witness == nullptr || result.input_line == 0
                               ? ""
                               : hub.hash_line();  // before any other question to the hub
  std::fprintf(stderr, "  after the input of line %llu the hub is: %s\n", number(result.input_line),
               printable(hub.state()).c_str());
  if (witness != nullptr) witness->on_difference(result, hash);
}

int replay_file(const char* path, ReplayedHub& hub, Witness* witness) {
  set_trap_file(path);
  FileInput stream(path);
  if (!stream) {
    std::fprintf(stderr, "%s: cannot be opened\n", path);
    return 2;
  }
  Reporter reporter(path, witness);
  const ReplayResult result = replay(stream, hub, reporter);
  progress::erase();
  switch (result.outcome) {
    case Outcome::same:
      std::printf("%s: %llu inputs, the same\n", path, number(result.inputs));
      if (result.changed_texts > 0) {
        std::printf("%s: changed since format 1: the wording of %llu errors\n", path,
                    number(result.changed_texts));
      }
      if (result.is_cut) print_cut(path, result.line, result.due);
      break;
    case Outcome::different:
      print_difference(path, result, hub, witness);
      break;
    case Outcome::broken:
      std::fprintf(stderr, "%s:%llu: %s\n", path, number(result.line), result.error.c_str());
      break;
  }
  if (stream.has_failed()) {
    std::fprintf(stderr, "%s: cannot be read to its end\n", path);
    return 2;
  }
  return static_cast<int>(result.outcome);
}

}  // namespace

int replay_files(int count, char** paths, ReplayedHub& hub, Witness* witness) {
  int worst = 0;
  for (int i = 0; i < count; ++i) {
    const int status = replay_file(paths[i], hub, witness);
    if (status == 2) return 2;
    if (status > worst) worst = status;
  }
  return worst;
}

}  // namespace sidekick::trace
