// sidekick-replay TRACE...: feeds the inputs of recorded traces to fresh hubs and demands the recorded lines, byte for byte.
// Exit status: 0 the same, 1 a difference, 2 a trace that cannot be read.
#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>

#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"
#include "trace_reader.hpp"

namespace {

using namespace sidekick;
using Step = trace::Reader::Step;

enum class Outcome : u8 { same, different, broken };

class Replay {
 public:
  Replay(const char* path, std::istream& stream) : path_(path), reader_(stream) {}

  Outcome run() {
    for (;;) {
      switch (reader_.next()) {
        case Step::header:
          // An input without actions, and then another recording: there the recording hub trapped.
          if (last_input_ == line() - 1) pending_.clear();
          if (!pending_.empty()) return report("the beginning of another recording");
          hub_ = std::make_unique<Hub>(reader_.config());
          break;
        case Step::input:
          if (!pending_.empty()) return report(reader_.line());
          take_input();
          [[fallthrough]];  // the recording of the input must come out the same, too
        case Step::action:
          if (pending_.empty() || pending_.front() != reader_.line()) return report(reader_.line());
          pending_.pop_front();
          break;
        case Step::end:
          if (!pending_.empty()) return report("the end of the trace");
          std::printf("%s: %llu inputs, the same\n", path_, static_cast<unsigned long long>(inputs_));
          return Outcome::same;
        case Step::broken:
          std::fprintf(stderr, "%s:%llu: %s\n", path_, line(), reader_.error().c_str());
          return Outcome::broken;
      }
    }
  }

 private:
  unsigned long long line() const { return reader_.line_number(); }

  void take_input() {
    ++inputs_;
    last_input_ = line();
    std::string text;
    trace::append_input(text, *hub_, reader_.now(), reader_.input());
    hub_->handle(reader_.now(), reader_.input(), actions_);
    for (const Action& action : actions_) trace::append_action(text, action);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      pending_.push_back(text.substr(at, end - at));
      at = end + 1;
    }
  }

  Outcome report(const std::string& expected) {
    const std::string got = pending_.empty() ? "nothing more" : pending_.front();
    std::fprintf(stderr, "%s:%llu: differs from the trace\n  expected: %s\n  got:      %s\n", path_, line(), expected.c_str(), got.c_str());
    // Asked last: it changes nothing that still matters.
    const std::string bearer = compose({"Bearer ", trace::replay_secret});
    hub_->handle(0, input::HttpRequest{0, 0, "GET", "/health", bearer, ""}, actions_);
    for (const Action& action : actions_) {
      if (action.tag != ActionTag::respond) continue;
      const std::string state(action.respond.body);
      std::fprintf(stderr, "  after the input of line %llu the hub is: %s\n", last_input_, state.c_str());
    }
    return Outcome::different;
  }

  const char* path_;
  trace::Reader reader_;
  std::unique_ptr<Hub> hub_;
  Actions actions_;
  std::deque<std::string> pending_;  // lines the hub has given and the trace has not yet shown
  u64 inputs_ = 0;
  unsigned long long last_input_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: sidekick-replay TRACE...\n");
    return 2;
  }
  bool is_same = true;
  for (int i = 1; i < argc; ++i) {
    std::ifstream stream(argv[i], std::ios::binary);
    if (!stream) {
      std::fprintf(stderr, "%s: cannot be opened\n", argv[i]);
      return 2;
    }
    switch (Replay(argv[i], stream).run()) {
      case Outcome::same: break;
      case Outcome::different: is_same = false; break;
      case Outcome::broken: return 2;
    }
  }
  return is_same ? 0 : 1;
}
