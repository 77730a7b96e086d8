// replay: the replay that sidekick-replay has, and at a difference the inputs before it that were about the same.
#include <cstdio>
#include <deque>

#include <nlohmann/json.hpp>

#include "about.hpp"
#include "command.hpp"
#include "core_hub.hpp"
#include "files.hpp"
#include "record_command.hpp"
#include "timeline.hpp"

namespace sidekick::trace {

namespace {

class Witness final : public Onlooker {
 public:
  void on_header(u64 line) override {
    follower_.open();
    timeline_ = {};
    past_.clear();
    set_trap_place(line);
  }

  void on_input(u64 line, Millis now, const Input& input) override {
    if (past_.size() == past_max) past_.pop_front();
    past_.push_back({line, timeline_.describe(now, input), follower_.follow(input)});
    set_trap_place(line);
  }

  void on_action(const std::string& line) override {
    const nlohmann::json action = nlohmann::json::parse(line, nullptr, false);
    // A publish does not make its hundred receivers one subject.
    if (const About& about = follower_.follow(action); about.clients.size() < 2 && !past_.empty()) past_.back().about.add(about);
  }

  void on_difference(const std::string& expected, const std::string& got, const std::string& hash) override {
    if (!hash.empty()) std::fprintf(stderr, "  its hash: %s", hash.c_str());
    if (past_.empty()) return;
    About about = past_.back().about;
    for (const std::string& side : {expected, got}) {
      const nlohmann::json action = nlohmann::json::parse(side, nullptr, false);
      if (action.is_object() && action.contains("out")) about.add(follower_.follow(action));
    }
    std::deque<const Entry*> shown;
    for (auto entry = past_.rbegin(); entry != past_.rend() && shown.size() < shown_max; ++entry) {
      if (entry == past_.rbegin() || entry->about.meets(about)) shown.push_front(&*entry);
    }
    std::fprintf(stderr, "  what led to it, as far as it is about the same clients, tokens or topics:\n");
    for (const Entry* entry : shown) std::fprintf(stderr, "  %8llu  %s\n", static_cast<unsigned long long>(entry->line), entry->text.c_str());
  }

 private:
  struct Entry {
    u64 line;
    std::string text;
    About about;
  };
  static constexpr std::size_t past_max = 10000;
  static constexpr std::size_t shown_max = 20;

  Follower follower_;
  Timeline timeline_;
  std::deque<Entry> past_;
};

}  // namespace

int replay(const Told& told) {
  catch_traps();
  int worst = 0;
  for (char* file : told.files) {
    if (!can_read(file)) return 2;
    set_trap_file(file);
    CoreHub hub;
    Witness witness;
    const int status = replay_files(1, &file, hub, &witness);
    if (status > worst) worst = status;
  }
  return worst;
}

}  // namespace sidekick::trace
