// stat: numbers of a whole trace. Holds counts, never lines; only the most frequent names and
// texts, so that no trace is too large.
#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "about.hpp"
#include "command.hpp"
#include "files.hpp"
#include "members.hpp"
#include "sidekick/text.hpp"
#include "timeline.hpp"

namespace sidekick::trace {

namespace {

using nlohmann::json;

/// How often each name occurs. Beyond names_max rare names are dropped, and a count may be too low.
class Busiest {
 public:
  void add(const std::string& name) {
    ++counts_[name];
    if (counts_.size() > names_max) forget();
  }

  void print(const char* title) const {
    if (counts_.empty()) return;
    std::vector<std::pair<std::string, u64>> sorted(counts_.begin(), counts_.end());
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    std::printf("\n%s%s:\n", title, has_forgotten_ ? ", at least" : "");
    for (std::size_t i = 0; i < sorted.size() && i < shown_max; ++i) {
      std::printf("  %9llu  %s\n", static_cast<unsigned long long>(sorted[i].second),
                  shortened(sorted[i].first).c_str());
    }
    if (sorted.size() > shown_max)
      std::printf("             and %zu more\n", sorted.size() - shown_max);
  }

 private:
  void forget() {
    std::vector<u64> counts;
    counts.reserve(counts_.size());
    for (const auto& [name, count] : counts_) counts.push_back(count);
    std::nth_element(counts.begin(), counts.begin() + names_max / 2, counts.end());
    const u64 rare = counts[names_max / 2];
    std::erase_if(counts_, [rare](const auto& entry) { return entry.second <= rare; });
    has_forgotten_ = true;
  }

  static constexpr std::size_t names_max = 20000;
  static constexpr std::size_t shown_max = 10;
  std::unordered_map<std::string, u64> counts_;
  bool has_forgotten_ = false;
};

/// Counts by size: exact below 1024 bytes, above it within a 64th.
class Sizes {
 public:
  void add(u64 size) {
    u64 step = 1;
    while (size / step >= 1024) step *= 2;
    ++counts_[size / step * step];
    ++total_;
    max_ = std::max(max_, size);
  }

  u64 total() const { return total_; }
  u64 max() const { return max_; }

  u64 percentile(u64 percent) const {
    u64 left = (total_ * percent + 99) / 100;
    for (const auto& [size, count] : counts_) {
      if (count >= left) return size;
      left -= count;
    }
    return max_;
  }

 private:
  std::map<u64, u64> counts_;
  u64 total_ = 0;
  u64 max_ = 0;
};

/// The calls to the engine by script, with the time until their answers.
class EngineCalls {
 public:
  void open() {
    for (const auto& [number, call] : under_way_) ++scripts_[call.script].unanswered;
    under_way_.clear();
  }

  void begin_call(const json& action, Millis now) {
    std::string script = "join";
    if (text_of(action, "out") == "engine_run") script = shortened(text_of(action, "script"));
    if (scripts_.size() >= scripts_max && !scripts_.contains(script)) script = "others";
    ++scripts_[script].calls;
    under_way_[static_cast<u32>(number_of(action, "call"))] = {
        script, static_cast<u32>(number_of(action, "shard")), now};
  }

  void answer(const input::EngineAnswer& in, Millis now) {
    const auto at = under_way_.find(in.call);
    if (at == under_way_.end()) return;
    Script& script = scripts_[at->second.script];
    script.durations.add(now < at->second.at ? 0 : now - at->second.at);
    if (in.status != 0) ++script.refused;
    under_way_.erase(at);
  }

  void end_calls(u32 shard) {
    for (auto at = under_way_.begin(); at != under_way_.end();) {
      if (at->second.shard != shard) {
        ++at;
        continue;
      }
      ++scripts_[at->second.script].unanswered;
      at = under_way_.erase(at);
    }
  }

  void print() const {
    if (scripts_.empty()) return;
    std::printf("\n%-20s %9s %9s %9s %9s %9s %9s\n", "calls to the engine", "count", "p50 ms",
                "p99 ms", "max ms", "refused", "no answer");
    for (const auto& [name, script] : scripts_) {
      u64 unanswered = script.unanswered;
      for (const auto& [number, call] : under_way_) unanswered += call.script == name ? 1 : 0;
      std::printf("%-20s %9llu %9llu %9llu %9llu %9llu %9llu\n", name.c_str(),
                  static_cast<unsigned long long>(script.calls),
                  static_cast<unsigned long long>(script.durations.percentile(50)),
                  static_cast<unsigned long long>(script.durations.percentile(99)),
                  static_cast<unsigned long long>(script.durations.max()),
                  static_cast<unsigned long long>(script.refused),
                  static_cast<unsigned long long>(unanswered));
    }
  }

 private:
  struct Script {
    u64 calls = 0;
    u64 refused = 0;
    u64 unanswered = 0;
    Sizes durations;
  };
  struct Call {
    std::string script;
    u32 shard = 0;
    Millis at = 0;
  };

  static constexpr std::size_t scripts_max = 64;  // a trace may name any number
  std::map<std::string, Script> scripts_;
  std::map<u32, Call> under_way_;
};

class Stat {
 public:
  int run(const char* path, Reader& reader) {
    for (;;) {
      switch (reader.next()) {
        case Reader::Step::header:
          ++hubs_;
          follower_.open();
          engine_.open();
          break;
        case Reader::Step::input:
          take_input(reader);
          break;
        case Reader::Step::action:
          take_action(json::parse(reader.line()));
          break;
        case Reader::Step::hash:
          ++hashes_;
          break;
        case Reader::Step::end:
          print(path, reader);
          return 0;
        case Reader::Step::broken:
          return unreadable(path, reader);
      }
    }
  }

 private:
  void take_input(const Reader& reader) {
    if (inputs_++ == 0) start_ = reader.now();
    if (reader.now() > latest_) latest_ = reader.now();
    const Input& input = reader.input();
    u64 size = 0;
    const Shape& shape = *find_input_shape(static_cast<u32>(input.tag));
    for (const Field* field = shape.fields; field->kind != FieldKind::end; ++field) {
      if (field->kind == FieldKind::bytes && field->name != "authorization")
        size += field_at<Bytes>(fields_of(input), *field).size();
      if (field->kind == FieldKind::list) {
        for (const Bytes text : field_at<std::span<const Bytes>>(fields_of(input), *field))
          size += text.size();
      }
    }
    if (input.tag == InputTag::engine_up) engine_.end_calls(input.engine_up.shard);
    if (input.tag == InputTag::engine_down) engine_.end_calls(input.engine_down.shard);
    if (input.tag == InputTag::engine_answer) engine_.answer(input.engine_answer, reader.now());
    now_ = reader.now();
    sizes_["in " + std::string(shape.name)].add(size);
    const About& about = follower_.follow(reader.now(), input);
    for (const u32 client : about.clients) clients_.add(compose({"client ", Digits(client)}));
    for (const std::string& token : about.tokens) tokens_.add(token);
    for (const std::string& topic : about.topics) topics_.add(topic);
  }

  void take_action(const json& action) {
    u64 size = 0;
    for (const auto& [name, value] : action.items()) {
      if (name != "out" && name != "content_type" && name != "code" && name != "why" &&
          value.is_string())
        size += value.get_ref<const std::string&>().size();
      if (value.is_array()) {
        for (const json& text : value) {
          if (text.is_string()) size += text.get_ref<const std::string&>().size();
        }
      }
    }
    const std::string name = text_of(action, "out");
    std::string kind = shortened("out " + name);
    if (sizes_.size() >= kinds_max && !sizes_.contains(kind)) kind = "also counts other kinds";
    sizes_[kind].add(size);
    follower_.follow(action);
    if (name == "engine_run" || name == "engine_join") engine_.begin_call(action, now_);
    if (name == "send") {
      const auto clients = action.find("clients");
      if (clients != action.end() && clients->is_array()) deliveries_ += clients->size();
      const Bytes text = plain_text_of(action, "text");
      constexpr Bytes type = "{ \"type\": \"error\"";
      constexpr Bytes before = "\"message\": ";
      constexpr Bytes after = " } }";
      const std::size_t message = text.rfind(before);
      if (text.starts_with(type) && text.ends_with(after) && message != Bytes::npos &&
          text.size() - message >= before.size() + after.size()) {
        errors_.add(compose(
            {"to a client: ", text.substr(message + before.size(),
                                          text.size() - message - before.size() - after.size())}));
      }
    }
    if (name == "respond" && number_of(action, "status") >= 400)
      errors_.add(compose(
          {"answered ", Digits(number_of(action, "status")), ": ", text_of(action, "body")}));
    if (name == "close")
      errors_.add(
          compose({"closed ", Digits(number_of(action, "code")), ": ", text_of(action, "reason")}));
  }

  void print(const char* path, const Reader& reader) const {
    const u64 ms = latest_ - start_;
    std::printf("%s: %llu lines, %llu hubs, %llu inputs, %llu hashes, %llu.%03llu s\n", path,
                static_cast<unsigned long long>(reader.line_number()),
                static_cast<unsigned long long>(hubs_), static_cast<unsigned long long>(inputs_),
                static_cast<unsigned long long>(hashes_),
                static_cast<unsigned long long>(ms / 1000),
                static_cast<unsigned long long>(ms % 1000));
    if (reader.is_cut()) std::printf("the recording was cut off in its last line\n");
    std::printf("\n%-20s %9s %9s %9s %9s %9s\n", "", "count", "a second", "p50 bytes", "p99 bytes",
                "max bytes");
    for (const auto& [name, sizes] : sizes_) {
      char rate[32] = "-";
      if (ms > 0)
        std::snprintf(rate, sizeof rate, "%.1f",
                      static_cast<double>(sizes.total()) * 1000 / static_cast<double>(ms));
      std::printf("%-20s %9llu %9s %9llu %9llu %9llu\n", name.c_str(),
                  static_cast<unsigned long long>(sizes.total()), rate,
                  static_cast<unsigned long long>(sizes.percentile(50)),
                  static_cast<unsigned long long>(sizes.percentile(99)),
                  static_cast<unsigned long long>(sizes.max()));
    }
    std::printf("%-20s %9llu\n", "frames to clients", static_cast<unsigned long long>(deliveries_));
    engine_.print();
    errors_.print("errors");
    topics_.print("busiest topics, inputs about them");
    clients_.print("busiest clients, inputs");
    tokens_.print("busiest tokens, inputs about them");
  }

  /// Room for all known kinds and those of a newer core; a trace may name any number.
  static constexpr std::size_t kinds_max = 64;

  Follower follower_;
  EngineCalls engine_;
  Millis now_ = 0;
  u64 hubs_ = 0;
  u64 inputs_ = 0;
  u64 hashes_ = 0;
  u64 deliveries_ = 0;
  Millis start_ = 0;
  Millis latest_ = 0;
  std::map<std::string, Sizes> sizes_;
  Busiest errors_, topics_, clients_, tokens_;
};

}  // namespace

int stat(const Told& told) {
  return read_trace(told.files[0],
                    [&](Reader& reader) { return Stat().run(told.files[0], reader); });
}

}  // namespace sidekick::trace
