// sidekick-lua-tests: the scripts of worker/engine in a real redis-server against Shard. The same
// random calls, at the same time of a clock that stands still, must give the same answers and
// messages. See --help.
#include <sys/wait.h>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>

#include "calls.hpp"
#include "engine/scripts.hpp"
#include "redis.hpp"
#include "sidekick/engine.hpp"

namespace sidekick::lua {

namespace {

constexpr char usage[] =
    "Usage: sidekick-lua-tests [--seed N] [--seeds N] [--seconds T] [--steps N] [--verbose]\n"
    "\n"
    "  --seed N     the first seed (1)\n"
    "  --seeds N    number of seeds (50)\n"
    "  --seconds T  as many seeds as fit into T seconds, instead; without --seed, random ones\n"
    "  --steps N    steps of each seed (300)\n"
    "  --verbose    print each step\n"
    "\n"
    "Exit status: 0 no difference, 1 a difference, 2 usage error.\n";

struct Options {
  u64 seed = 0;
  u64 seeds = 50;
  u64 seconds = 0;
  u64 steps = 300;
  bool is_verbose = false;
};

std::string shown(const Texts& texts) {
  std::string line;
  for (const std::string& text : texts) {
    line += line.empty() ? "" : " ";
    if (text.empty()) line += "''";
    for (const char c : text) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02X", static_cast<u8>(c));
      line += c >= ' ' && c <= '~' ? std::string(1, c) : escaped;
    }
  }
  return line;
}

class Trial {
 public:
  Trial(Redis& redis, u64 seed, bool is_verbose)
      : redis_(redis), dice_(seed), seed_(seed), is_verbose_(is_verbose) {}

  /// Returns false at the first difference.
  bool run(u64 steps);

  u64 calls() const { return calls_; }
  u64 messages() const { return messages_; }

 private:
  bool step();
  void move_clock();
  void settle();
  void change_joins();
  void fault();
  void restart(Redis::Data data);

  bool check(const Calls::Call& call);
  bool check_messages();
  bool differ(const std::string& lua, const std::string& ours);
  void note(const std::string& line);

  Redis& redis_;
  Dice dice_;
  const u64 seed_;
  const bool is_verbose_;
  // A swarm: no seed has everything, so that each has much of something.
  const u32 clock_permille_ = dice_.between(20, 400);
  const u32 fault_permille_ = dice_.between(1, 30);
  const u32 joins_permille_ = dice_.between(50, 300);
  Calls generator_{dice_};
  Shard shard_{""};
  Shard copy_{""};
  bool has_copy_ = false;
  u64 now_us_ = 1'790'000'000'000'000;
  u64 calls_ = 0;
  u64 messages_ = 0;
  Texts notes_;
};

bool Trial::run(u64 steps) {
  redis_.set_clock(now_us_);
  restart(Redis::Data::empty);
  for (const std::string& node : nodes) {
    redis_.attach(node);
    shard_.attach(node);
  }
  if (dice_.chance(800) && !check(generator_.sync("A"))) return false;
  for (u64 i = 0; i < steps; ++i) {
    if (!step()) return false;
  }
  return true;
}

bool Trial::step() {
  if (dice_.chance(clock_permille_)) move_clock();
  if (dice_.chance(joins_permille_)) change_joins();
  if (dice_.chance(fault_permille_)) fault();
  return check(generator_.next(now_us_));
}

void Trial::move_clock() {
  static constexpr u64 spans_us[] = {1, 500, 1000, 1000, 2000, 3000, 5000, 10'000, 1'000'000};
  if (dice_.chance(100)) {
    settle();
    now_us_ -= dice_.one_of(spans_us);
  } else {
    now_us_ += dice_.one_of(spans_us);
  }
  redis_.set_clock(now_us_);
  note("clock " + std::to_string(now_us_));
}

/// Expired keys do not come back, even if the clock is set back.
void Trial::settle() {
  redis_.remove_expired();
  shard_.run(now_us_, "changed", std::vector<Bytes>{"", "", ""});
}

void Trial::change_joins() {
  const std::string node = generator_.one_of(nodes);
  const u32 choice = dice_.below(10);
  if (choice == 0) {
    redis_.detach(node);
    shard_.detach(node);
    note("detach " + node);
  } else if (choice < 3) {
    redis_.attach(node);
    shard_.attach(node);
    note("attach " + node);
  } else {
    Texts some;
    for (u32 count = dice_.between(1, 3); count > 0; --count)
      some.push_back(generator_.one_of(topics));
    const std::vector<Bytes> names(some.begin(), some.end());
    const bool is_join = choice < 8;
    if (is_join) {
      redis_.join(node, some);
      shard_.join(node, names);
    } else {
      redis_.leave(node, some);
      shard_.leave(node, names);
    }
    note((is_join ? "join " : "leave ") + node + ": " + shown(some));
  }
}

void Trial::fault() {
  const u32 choice = dice_.below(12);
  if (choice == 0) return restart(Redis::Data::empty);
  if (choice == 1) return restart(Redis::Data::all);
  if (choice == 2) return restart(Redis::Data::copy);
  if (choice < 5) {
    settle();
    redis_.save_copy();
    copy_ = shard_;
    has_copy_ = true;
    return note("copy");
  }
  if (choice == 5) {
    redis_.flush();
    shard_.flush();
    return note("flush");
  }
  redis_.set_full(choice == 6);
  shard_.set_full(choice == 6);
  note(choice == 6 ? "full" : "not full");
}

void Trial::restart(Redis::Data data) {
  if (data == Redis::Data::copy && !has_copy_) return;
  settle();
  static constexpr const char* names[] = {"empty", "all", "copy"};
  note(std::string("restart ") + names[static_cast<int>(data)]);
  redis_.restart(data);
  generator_.note_server(redis_.server());
  if (data == Redis::Data::empty)
    shard_.restart(redis_.server());
  else
    shard_.restart(redis_.server(), data == Redis::Data::all ? shard_ : copy_);
}

bool Trial::check(const Calls::Call& call) {
  const auto& [script, args] = call;
  note(std::string(script) + " " + shown(args));
  ++calls_;
  const std::vector<Bytes> views(args.begin(), args.end());
  const Shard::Answer lua = redis_.run(script, views);
  const Shard::Answer ours = shard_.run(now_us_, script, views);
  const auto line = [](const Shard::Answer& answer) {
    // Of a refusal, only the reason is common: the memory is full.
    const std::string text = shown(answer.values);
    return answer.status == 0 ? "ok: " + text : "refused: " + text.substr(0, 3);
  };
  note(" -> " + line(lua));
  if (line(lua) != line(ours)) return differ(shown(lua.values), shown(ours.values));
  generator_.note(call, lua);
  return check_messages();
}

bool Trial::check_messages() {
  const std::map<std::string, Texts> lua = redis_.messages();
  std::map<std::string, Texts> ours;
  for (const Shard::Publication& it : shard_.take_publications()) {
    const std::string text = (it.topic.empty() ? "inbox" : "topic c:" + it.topic) + ": " + it.body;
    for (const std::string& node : it.nodes) ours[node].push_back(text);
  }
  for (const std::string& node : nodes) {
    const auto of = [&](const std::map<std::string, Texts>& all) {
      const auto at = all.find(node);
      return at == all.end() ? std::string() : shown(at->second);
    };
    if (of(lua) != of(ours)) return differ(node + " got " + of(lua), node + " got " + of(ours));
    if (lua.contains(node)) messages_ += lua.at(node).size();
  }
  return true;
}

bool Trial::differ(const std::string& lua, const std::string& ours) {
  std::printf("seed %llu: a difference after these steps\n",
              static_cast<unsigned long long>(seed_));
  const std::size_t shown_count = std::min<std::size_t>(notes_.size(), 200);
  for (std::size_t i = notes_.size() - shown_count; i < notes_.size(); ++i)
    std::printf("  %s\n", notes_[i].c_str());
  std::printf("Redis: %s\nShard: %s\n", lua.c_str(), ours.c_str());
  return false;
}

void Trial::note(const std::string& line) {
  if (is_verbose_) std::printf("%s\n", line.c_str());
  notes_.push_back(line);
}

/// The list of scripts, and which of them run while the memory is full, must be those of Redis.
bool are_flags_equal() {
  std::size_t count = 0;
  for (const host::EngineScript& script : host::engine_scripts()) {
    const EngineScript* const ours = find_engine_script(script.name);
    std::string line = "#!lua";
    if (ours != nullptr && !ours->flags.empty()) line.append(" flags=").append(ours->flags);
    if (ours == nullptr || !script.source.starts_with(line + "\n")) {
      std::printf("%s: engine.def expects the first line %s\n", std::string(script.name).c_str(),
                  line.c_str());
      return false;
    }
    ++count;
  }
  if (count != std::size(engine::scripts)) std::printf("a script of engine.def is missing\n");
  return count == std::size(engine::scripts);
}

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const Bytes name = argv[i];
    if (name == "--verbose") {
      options.is_verbose = true;
      continue;
    }
    u64* const value = name == "--seed"      ? &options.seed
                       : name == "--seeds"   ? &options.seeds
                       : name == "--seconds" ? &options.seconds
                       : name == "--steps"   ? &options.steps
                                             : nullptr;
    if (value == nullptr || ++i == argc) return false;
    const char* const end = argv[i] + std::strlen(argv[i]);
    const auto [at, error] = std::from_chars(argv[i], end, *value);
    if (error != std::errc() || at != end) return false;
  }
  if (options.seed == 0) options.seed = options.seconds == 0 ? 1 : std::random_device()();
  return true;
}

int run(const Options& options) {
  if (!are_flags_equal()) return 1;
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  const auto began = std::chrono::steady_clock::now();
  const auto is_over = [&](u64 seeds) {
    if (options.seconds == 0) return seeds == options.seeds;
    return std::chrono::steady_clock::now() - began >= std::chrono::seconds(options.seconds);
  };
  Redis redis;
  u64 seeds = 0, calls = 0, messages = 0;
  for (; !is_over(seeds); ++seeds) {
    Trial trial(redis, options.seed + seeds, options.is_verbose);
    if (!trial.run(options.steps)) return 1;
    calls += trial.calls();
    messages += trial.messages();
  }
  std::printf("%llu seeds, %llu calls, %llu messages: no difference\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(messages));
  return 0;
}

}  // namespace

}  // namespace sidekick::lua

int main(int argc, char** argv) {
  sidekick::lua::Options options;
  if (!sidekick::lua::read_options(argc, argv, options)) {
    std::fputs(sidekick::lua::usage, stderr);
    return 2;
  }
  return sidekick::lua::run(options);
}
