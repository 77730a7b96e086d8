// show: the timeline, complete or filtered. Holds one line, and the input that the line belongs to.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "about.hpp"
#include "command.hpp"
#include "files.hpp"
#include "members.hpp"
#include "timeline.hpp"

namespace sidekick::trace {

namespace {

class Show {
 public:
  Show(const Told& told) : told_(told) {}

  int run(const char* path, Reader& reader) {
    for (;;) {
      const Reader::Step step = reader.next();
      line_ = reader.line_number();
      switch (step) {
        case Reader::Step::header: {
          if (reader.follows_cut() && wants({})) print_cut(line_ - 1);
          if (reader.lines_missed() > 0 && wants({})) print_gap(reader.lines_missed());
          follower_.open();
          timeline_ = {};
          const nlohmann::json header = nlohmann::json::parse(reader.line());
          header_line_ = line_;
          header_ = compose_header(header);
          if (wants({})) print_header();
          break;
        }
        case Reader::Step::input: {
          input_line_ = line_;
          input_ = timeline_.describe(reader.now(), reader.input());
          if (wants(follower_.follow(reader.now(), reader.input()))) print_input();
          break;
        }
        case Reader::Step::action: {
          const nlohmann::json action = nlohmann::json::parse(reader.line());
          const std::string text = timeline_.describe(action);
          if (!wants(follower_.follow(action))) break;
          print_input();
          print("              " + text);
          has_shown_ = true;
          break;
        }
        case Reader::Step::hash:
          if (wants({})) print(shortened(reader.line()));
          break;
        case Reader::Step::end:
          if (reader.is_cut()) print_cut(line_);
          if (!has_shown_ && !wants({})) std::fprintf(stderr, "%s: no matching input\n", path);
          return 0;
        case Reader::Step::broken:
          return unreadable(path, reader);
      }
    }
  }

 private:
  static std::string compose_header(const nlohmann::json& header) {
    return "a hub of core " +
           (header.contains("core") ? shortened(text_of(header, "core")) : "unknown");
  }

  bool wants(const About& about) const {
    return (!told_.client || about.has_client(*told_.client)) &&
           (told_.token.empty() || about.has_token(told_.token)) &&
           (told_.topic.empty() || about.has_topic(told_.topic));
  }

  /// Once, however many of its actions are shown.
  void print_input() {
    if (input_.empty()) return;
    print_header();
    std::printf("%8llu  %s\n", static_cast<unsigned long long>(input_line_), input_.c_str());
    input_.clear();
    has_shown_ = true;
  }

  /// Before the first line shown of its hub.
  void print_header() {
    if (!header_.empty())
      std::printf("%8llu  %s\n", static_cast<unsigned long long>(header_line_), header_.c_str());
    header_.clear();
  }

  static void print_cut(u64 line) {
    std::printf("%8llu  the recording was cut off here\n", static_cast<unsigned long long>(line));
  }
  /// In the line above this one.
  void print_gap(u64 lines) const {
    std::printf("%8llu  a gap: %llu lines are missing here\n",
                static_cast<unsigned long long>(line_ - 1), static_cast<unsigned long long>(lines));
  }
  void print(const std::string& text) const {
    std::printf("%8llu  %s\n", static_cast<unsigned long long>(line_), text.c_str());
  }

  const Told& told_;
  Follower follower_;
  Timeline timeline_;
  std::string header_;
  u64 header_line_ = 0;
  std::string input_;
  u64 input_line_ = 0;
  u64 line_ = 0;
  bool has_shown_ = false;  // an input or an action
};

}  // namespace

int show(const Told& told) {
  return read_trace(told.files[0],
                    [&](Reader& reader) { return Show(told).run(told.files[0], reader); });
}

}  // namespace sidekick::trace
