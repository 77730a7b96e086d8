#include "trace/replay.hpp"

#include <deque>
#include <utility>

#include "sidekick/text.hpp"
#include "trace/format_1.hpp"

namespace sidekick::trace {

namespace {

using Step = Reader::Step;
using Outcome = ReplayResult::Outcome;

class Replay {
 public:
  Replay(std::istream& stream, ReplayedHub& hub, Onlooker& onlooker)
      : reader_(stream), hub_(hub), onlooker_(onlooker) {}

  ReplayResult run() {
    for (;;) {
      switch (reader_.next()) {
        case Step::header:
          if (reader_.lines_missed() > 0) {
            if (!due_.empty()) return different();
            onlooker_.on_gap(line() - 2, reader_.lines_missed());
          }
          // A recording that ends with an input alone ends with a trap. Any other incomplete
          // recording is of a host that was killed.
          if (reader_.follows_cut() || (!due_.empty() && result_.input_line != line() - 1))
            onlooker_.on_cut(line() - 1, due_.size());
          due_.clear();
          onlooker_.on_header(line());
          hub_.open(reader_.config_text(), reader_.config(), reader_.format());
          if (!hub_.wrong().empty()) {
            return broken(compose({"the module rejects this configuration: ", hub_.wrong()}));
          }
          break;
        case Step::input:
          if (!due_.empty()) return different();
          take_input();
          [[fallthrough]];  // the recording of the input must be the same, too
        case Step::action:
          if (due_.empty() || !is_expected(due_.front())) return different();
          due_.pop_front();
          if (result_.input_line != line()) onlooker_.on_action(reader_.line());
          break;
        case Step::hash:
          if (!due_.empty()) return different();
          expect(hub_.hash_line());
          if (!is_expected(due_.front())) return different();
          due_.pop_front();
          break;
        case Step::end:
          return same();
        case Step::broken:
          return broken(reader_.error());
      }
    }
  }

 private:
  /// Whether the line of the hub is that of the trace, or differs in a way that is known.
  bool is_expected(const std::string& said) {
    if (said == reader_.line()) return true;
    if (reader_.format() != 1) return false;
    const ChangeSince1 change = change_since_1(reader_.line(), said);
    if (change == ChangeSince1::error_text) ++result_.changed_texts;
    return change != ChangeSince1::none;
  }

  u64 line() const { return reader_.line_number(); }

  void take_input() {
    ++result_.inputs;
    result_.input_line = line();
    onlooker_.on_input(line(), reader_.now(), reader_.input());
    std::string text;
    hub_.append_lines(text, reader_.now(), reader_.input());
    expect(text);
  }

  void expect(const std::string& lines) {
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', at);
      due_.push_back(lines.substr(at, end - at));
      at = end + 1;
    }
  }

  ReplayResult finish(Outcome outcome) {
    result_.outcome = outcome;
    result_.line = line();
    return std::move(result_);
  }

  /// A recording may be cut off anywhere, in a line or between two: then it is compared up to
  /// there.
  ReplayResult same() {
    result_.is_cut = reader_.is_cut() || !due_.empty();
    result_.due = due_.size();
    return finish(Outcome::same);
  }

  ReplayResult different() {
    result_.expected = reader_.line();
    result_.got = due_.empty() ? "nothing more" : due_.front();
    return finish(Outcome::different);
  }

  ReplayResult broken(std::string error) {
    result_.error = std::move(error);
    return finish(Outcome::broken);
  }

  Reader reader_;
  ReplayedHub& hub_;
  Onlooker& onlooker_;
  std::deque<std::string> due_;  // lines of the hub that the trace has not shown yet
  ReplayResult result_;
};

}  // namespace

Input health_request() {
  static const std::string bearer = compose({"Bearer ", replay_secret});
  return input::HttpRequest{0, 0, "GET", "/health", bearer, "", ""};
}

ReplayResult replay(std::istream& stream, ReplayedHub& hub, Onlooker& onlooker) {
  return Replay(stream, hub, onlooker).run();
}

}  // namespace sidekick::trace
