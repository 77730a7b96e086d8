// Feeds the inputs of recorded traces to fresh hubs and demands the recorded lines, byte for byte.
// Holds the lines of one input, never a file.
#include "replay/replay.hpp"

#include <cstdio>
#include <deque>

#include "file_input.hpp"
#include "sidekick/text.hpp"
#include "trace/printable.hpp"
#include "trap_place.hpp"

namespace sidekick::trace {

namespace {

using Step = Reader::Step;

enum class Outcome : u8 { same, different, broken };

class Replay {
 public:
  Replay(const char* path, std::istream& stream, ReplayedHub& hub, Onlooker* onlooker)
      : path_(path), reader_(stream), hub_(hub), onlooker_(onlooker) {}

  Outcome run() {
    for (;;) {
      switch (reader_.next()) {
        case Step::header:
          // A recording that ends with an input alone ends with a trap. Any other that is not whole
          // is one of a host that was killed.
          if (reader_.follows_cut() || (!pending_.empty() && last_input_ != line() - 1))
            tell_cut(line() - 1);
          pending_.clear();
          if (onlooker_ != nullptr) onlooker_->on_header(line());
          hub_.open(reader_.config_text(), reader_.config());
          if (!hub_.wrong().empty()) {
            std::fprintf(stderr, "%s:%llu: the module refuses this configuration: %s\n", path_,
                         line(), hub_.wrong().c_str());
            return Outcome::broken;
          }
          break;
        case Step::input:
          if (!pending_.empty()) return report(reader_.line());
          take_input();
          [[fallthrough]];  // the recording of the input must come out the same, too
        case Step::action:
          if (pending_.empty() || pending_.front() != reader_.line()) return report(reader_.line());
          pending_.pop_front();
          if (onlooker_ != nullptr && last_input_ != line()) onlooker_->on_action(reader_.line());
          break;
        case Step::hash:
          if (!pending_.empty()) return report(reader_.line());
          expect(hub_.hash_line());
          if (pending_.front() != reader_.line()) return report(reader_.line());
          pending_.pop_front();
          break;
        case Step::end:
          return end();
        case Step::broken:
          std::fprintf(stderr, "%s:%llu: %s\n", path_, line(), reader_.error().c_str());
          return Outcome::broken;
      }
    }
  }

 private:
  unsigned long long line() const { return reader_.line_number(); }

  /// A recording may be cut off anywhere, in a line or between two: what there is of it is the
  /// same, then.
  Outcome end() {
    std::printf("%s: %llu inputs, the same\n", path_, static_cast<unsigned long long>(inputs_));
    if (reader_.is_cut() || !pending_.empty()) tell_cut(line());
    return Outcome::same;
  }

  void tell_cut(unsigned long long line) const {
    std::printf(
        "%s:%llu: the recording was cut off here; %zu more lines are due for its last input\n",
        path_, line, pending_.size());
  }

  void take_input() {
    ++inputs_;
    last_input_ = line();
    set_trap_place(last_input_);
    if (onlooker_ != nullptr) onlooker_->on_input(line(), reader_.now(), reader_.input());
    std::string text;
    hub_.append_lines(text, reader_.now(), reader_.input());
    expect(text);
  }

  void expect(const std::string& lines) {
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', at);
      pending_.push_back(lines.substr(at, end - at));
      at = end + 1;
    }
  }

  Outcome report(const std::string& expected) {
    const std::string got = pending_.empty() ? "nothing more" : pending_.front();
    std::fprintf(stderr, "%s:%llu: differs from the trace\n  expected: %s\n  got:      %s\n", path_,
                 line(), printable(expected).c_str(), printable(got).c_str());
    const std::string hash = onlooker_ == nullptr || last_input_ == 0
                                 ? ""
                                 : hub_.hash_line();  // before the hub is asked anything else
    std::fprintf(stderr, "  after the input of line %llu the hub is: %s\n", last_input_,
                 printable(hub_.state()).c_str());
    if (onlooker_ != nullptr) onlooker_->on_difference(expected, got, hash);
    return Outcome::different;
  }

  const char* path_;
  Reader reader_;
  ReplayedHub& hub_;
  Onlooker* onlooker_;
  std::deque<std::string> pending_;  // lines the hub has given and the trace has not yet shown
  u64 inputs_ = 0;
  unsigned long long last_input_ = 0;
};

}  // namespace

Input health_request() {
  static const std::string bearer = compose({"Bearer ", replay_secret});
  return input::HttpRequest{0, 0, "GET", "/health", bearer, ""};
}

int replay_files(int count, char** paths, ReplayedHub& hub, Onlooker* onlooker) {
  bool is_same = true;
  for (int i = 0; i < count; ++i) {
    set_trap_file(paths[i]);
    FileInput stream(paths[i]);
    if (!stream) {
      std::fprintf(stderr, "%s: cannot be opened\n", paths[i]);
      return 2;
    }
    const Outcome outcome = Replay(paths[i], stream, hub, onlooker).run();
    if (stream.has_failed()) {
      std::fprintf(stderr, "%s: cannot be read to its end\n", paths[i]);
      return 2;
    }
    switch (outcome) {
      case Outcome::same:
        break;
      case Outcome::different:
        is_same = false;
        break;
      case Outcome::broken:
        return 2;
    }
  }
  return is_same ? 0 : 1;
}

}  // namespace sidekick::trace
