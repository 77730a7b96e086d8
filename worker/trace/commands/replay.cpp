// replay: replays on this build's core and shows, at a difference, the earlier inputs about the
// same clients, tokens or topics.
#include <cstdio>
#include <deque>

#include <nlohmann/json.hpp>

#include "about.hpp"
#include "command.hpp"
#include "files.hpp"
#include "replay_files.hpp"
#include "timeline.hpp"
#include "trace/core_hub.hpp"
#include "trap_place.hpp"

namespace sidekick::trace {

namespace {

class Past final : public Witness {
 public:
  void on_header(u64) override {
    follower_.open();
    timeline_ = {};
    past_.clear();
    past_bytes_ = 0;
  }

  void on_input(u64 line, Millis now, const Input& input) override {
    past_.push_back({line, timeline_.describe(now, input), follower_.follow(now, input)});
    past_bytes_ += past_.back().bytes = bytes_of(past_.back());
    forget();
  }

  void on_action(const std::string& line) override {
    const nlohmann::json action = nlohmann::json::parse(line, nullptr, false);
    timeline_.describe(action);  // it follows the calls to the engine
    const About& about = follower_.follow(action);
    if (about.clients.size() >= 2 || past_.empty())
      return;  // a publish does not make its hundred receivers one subject
    Entry& entry = past_.back();
    entry.about.add(about);
    past_bytes_ -= entry.bytes;
    past_bytes_ += entry.bytes = bytes_of(entry);
    forget();
  }

  void on_difference(const ReplayResult& result, const std::string& hash) override {
    if (!hash.empty()) std::fprintf(stderr, "  its hash: %s", hash.c_str());
    if (past_.empty()) return;
    About about = past_.back().about;
    for (const std::string& side : {result.expected, result.got}) {
      const nlohmann::json action = nlohmann::json::parse(side, nullptr, false);
      if (action.is_object() && action.contains("out")) about.add(follower_.follow(action));
    }
    std::deque<const Entry*> shown;
    for (auto entry = past_.rbegin(); entry != past_.rend() && shown.size() < shown_max; ++entry) {
      if (entry == past_.rbegin() || entry->about.meets(about)) shown.push_front(&*entry);
    }
    std::fprintf(stderr, "  earlier inputs about the same clients, tokens or topics:\n");
    for (const Entry* entry : shown)
      std::fprintf(stderr, "  %8llu  %s\n", static_cast<unsigned long long>(entry->line),
                   entry->text.c_str());
  }

 private:
  struct Entry {
    u64 line;
    std::string text;
    About about;
    std::size_t bytes = 0;
  };
  static constexpr std::size_t past_max = 10000;
  static constexpr std::size_t past_bytes_max = 4 << 20;
  static constexpr std::size_t shown_max = 20;

  static std::size_t bytes_of(const Entry& entry) {
    std::size_t bytes = sizeof entry + entry.text.size() + entry.about.clients.size() * sizeof(u32);
    for (const auto* texts : {&entry.about.tokens, &entry.about.topics}) {
      for (const std::string& text : *texts) bytes += sizeof(std::string) + text.size();
    }
    return bytes;
  }

  /// Never the last.
  void forget() {
    while (past_.size() > past_max || (past_bytes_ > past_bytes_max && past_.size() > 1)) {
      past_bytes_ -= past_.front().bytes;
      past_.pop_front();
    }
  }

  Follower follower_;
  Timeline timeline_;
  std::deque<Entry> past_;
  std::size_t past_bytes_ = 0;
};

}  // namespace

int replay(const Told& told) {
  catch_traps();
  int worst = 0;
  for (char* file : told.files) {
    if (!can_read(file)) return 2;
    CoreHub hub;
    Past past;
    const int status = replay_files(1, &file, hub, &past);
    if (status > worst) worst = status;
  }
  return worst;
}

}  // namespace sidekick::trace
