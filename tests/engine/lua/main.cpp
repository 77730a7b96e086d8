// sidekick-lua-tests: the scripts of worker/engine in a real redis-server against Shard. The same
// random calls, at the same time of a clock that stands still, must give the same answers and
// messages. See --help.
#include <sys/wait.h>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>

#include "dice.hpp"
#include "engine/scripts.hpp"
#include "redis.hpp"
#include "sidekick/engine.hpp"

namespace sidekick::lua {

namespace {

using sim::Dice;

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

// Few values, so that calls meet. Some names have bytes that need care.
const Texts nodes{"A", "B", "C"};
const Texts named_nodes{"A", "B", "C", "A", "B", "C", "D", "-"};  // D is never attached
const Texts tokens{"T", "U", std::string("V\0\r\n", 4), ""};
const Texts sessions{"s1", "s2", "", "-"};
const Texts topics{"x", "y", "z", std::string("\0 \xff\n", 4)};
const Texts texts{"", "one", "0123456789", std::string("\0\r\n\xff", 4)};
const Texts spans_ms{"0", "1", "2", "3", "5", "10", "50", "1000", "9007199254740991"};
const Texts counts{"0", "1", "2", "3", "5", "100"};
const Texts sizes{"0", "1", "3", "9", "10", "20", "1000"};

class Trial {
 public:
  Trial(Redis& redis, u64 seed, bool is_verbose)
      : redis_(redis), dice_(seed), seed_(seed), is_verbose_(is_verbose) {}

  /// Returns false at the first difference.
  bool run(u64 steps);

  u64 calls() const { return calls_; }
  u64 messages() const { return messages_; }

 private:
  const std::string& one_of(const Texts& list) {
    return list[dice_.below(static_cast<u32>(list.size()))];
  }

  /// The larger ones, in some seeds: less expires and is forgotten.
  const std::string& few_of(const Texts& list) {
    const u32 count = static_cast<u32>(list.size());
    return list[is_lasting_ ? count - 1 - dice_.below(dice_.chance(50) ? count : 2)
                            : dice_.below(count)];
  }

  bool step();
  void move_clock();
  void settle();
  bool call();
  Texts arguments(const EngineScript& script);
  std::string argument(const EngineField& field);
  std::string stamp();
  std::string look_back();
  Texts sync_of(const std::string& node);
  void change_joins();
  void fault();
  void restart(Redis::Data data);

  bool check(Bytes script, const Texts& args);
  bool check_messages();
  bool differ(const std::string& lua, const std::string& ours);
  void note(const std::string& line);

  Redis& redis_;
  Dice dice_;
  const u64 seed_;
  const bool is_verbose_;
  // A swarm: no seed has everything, so that each has much of something.
  const bool is_lasting_ = dice_.chance(600);
  const u32 clock_permille_ = dice_.between(20, 400);
  const u32 fault_permille_ = dice_.between(1, 30);
  const u32 names_count_ = dice_.between(1, 4);
  const u32 joins_permille_ = dice_.between(50, 300);
  std::vector<u32> deck_;  ///< of scripts: the more cards, the more often
  Shard shard_{""};
  Shard copy_{""};
  bool has_copy_ = false;
  u64 now_us_ = 1'790'000'000'000'000;
  u64 epochs_ = 0;
  u64 calls_ = 0;
  u64 messages_ = 0;
  Texts epochs_seen_{""};
  Texts servers_seen_{"",   "s1",  "s2",  "s3",  "s4",  "s5",  "s6",  "s7",  "s8",
                      "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "another"};
  Texts stamps_seen_{"0"};
  struct Known {
    std::string epoch, server, top = "0";
  };
  std::map<std::string, Known> known_;  ///< by nodes, of their latest sync
  Texts notes_;
};

bool Trial::run(u64 steps) {
  for (u32 script = 0; script < std::size(engine::scripts); ++script)
    deck_.insert(deck_.end(), dice_.chance(200) ? 0 : dice_.between(1, 10), script);
  if (deck_.empty()) deck_.push_back(0);
  redis_.set_clock(now_us_);
  restart(Redis::Data::empty);
  for (const std::string& node : nodes) {
    redis_.attach(node);
    shard_.attach(node);
  }
  if (dice_.chance(800) && !check("sync", sync_of("A"))) return false;
  for (u64 i = 0; i < steps; ++i) {
    if (!step()) return false;
  }
  return true;
}

bool Trial::step() {
  if (dice_.chance(clock_permille_)) move_clock();
  if (dice_.chance(joins_permille_)) change_joins();
  if (dice_.chance(fault_permille_)) fault();
  return call();
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

/// What has expired does not come back, even if the clock is set back.
void Trial::settle() {
  redis_.remove_expired();
  shard_.run(now_us_, "changed", std::vector<Bytes>{"", "", ""});
}

void Trial::change_joins() {
  const std::string node = one_of(nodes);
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
    for (u32 count = dice_.between(1, 3); count > 0; --count) some.push_back(one_of(topics));
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
  servers_seen_.push_back(redis_.server());
  if (data == Redis::Data::empty)
    shard_.restart(redis_.server());
  else
    shard_.restart(redis_.server(), data == Redis::Data::all ? shard_ : copy_);
}

bool Trial::call() {
  const u32 card = dice_.below(static_cast<u32>(deck_.size()));
  const EngineScript& script = engine::scripts[deck_[card]];
  const bool is_known = script.name == "sync" && dice_.chance(600);
  return check(script.name, is_known ? sync_of(one_of(nodes)) : arguments(script));
}

Texts Trial::arguments(const EngineScript& script) {
  Texts args;
  u32 single = 0;
  for (; script.arguments[single].kind != EngineKind::end; ++single) {
    if (script.arguments[single].is_repeated) break;
    args.push_back(argument(script.arguments[single]));
  }
  if (script.arguments[single].kind == EngineKind::end) return args;
  for (u32 groups = dice_.between(1, 4); groups > 0; --groups) {
    for (u32 i = single; script.arguments[i].kind != EngineKind::end; ++i)
      args.push_back(argument(script.arguments[i]));
  }
  return args;
}

std::string Trial::argument(const EngineField& field) {
  switch (field.kind) {
    case EngineKind::token:
      return tokens[dice_.below(names_count_)];
    case EngineKind::session:
      return one_of(sessions);
    case EngineKind::record:
    case EngineKind::text:
      return one_of(texts);
    case EngineKind::topic:
      return topics[dice_.below(names_count_)];
    case EngineKind::node:
      return one_of(named_nodes);
    case EngineKind::epoch:
      if (field.name == "unused_epoch") return "e" + std::to_string(++epochs_);
      return dice_.chance(900) ? epochs_seen_.back() : one_of(epochs_seen_);
    case EngineKind::server:
      return dice_.chance(700) ? servers_seen_.back() : one_of(servers_seen_);
    case EngineKind::since:
      if (dice_.chance(50)) return "";
      if (dice_.chance(200)) return "-" + std::to_string(dice_.between(1, 3000));
      if (dice_.chance(200)) return look_back();
      return stamp();
    case EngineKind::stamp:
      return stamp();
    case EngineKind::number:
      if (field.name == "bytes_max") return one_of(sizes);
      return few_of(field.name.ends_with("_ms") ? spans_ms : counts);
    case EngineKind::word:
    case EngineKind::end:
      break;
  }
  fail("no value for an argument");
}

/// One that was seen, or is near a limit.
std::string Trial::stamp() {
  if (dice_.chance(100)) return std::to_string(now_us_ + 999'999 + dice_.below(3));
  const std::size_t recent = std::min<std::size_t>(stamps_seen_.size(), 12);
  const std::size_t back = 1 + dice_.below(static_cast<u32>(recent));
  const u64 seen = std::stoull(stamps_seen_[stamps_seen_.size() - back]);
  return std::to_string(dice_.chance(700) || seen == 0 ? seen : seen - 1 + dice_.below(3));
}

/// To a stamp that was seen, in milliseconds.
std::string Trial::look_back() {
  const u64 seen = std::stoull(stamp());
  const u64 span_ms = seen < now_us_ ? (now_us_ - seen) / 1000 : 0;
  return "-" + std::to_string(std::max<u64>(span_ms + dice_.below(3), 2) - 1);
}

/// A node knows what it got last, and maybe has seen changes since.
Texts Trial::sync_of(const std::string& node) {
  const Known& known = known_[node];
  return {node, "e" + std::to_string(++epochs_), known.epoch, known.server,
          dice_.chance(500) ? known.top : stamp()};
}

bool Trial::check(Bytes script, const Texts& args) {
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
  if (lua.status == 0 && script == "sync") {
    if (epochs_seen_.back() != lua.values[0]) epochs_seen_.push_back(lua.values[0]);
    stamps_seen_.push_back(lua.values[2]);
    known_[args[0]] = {lua.values[0], lua.values[1], lua.values[2]};
  }
  if (lua.status == 0 && (script == "update" || script == "message")) {
    stamps_seen_.push_back(lua.values[0]);
    known_[one_of(nodes)].top = lua.values[0];
  }
  return check_messages();
}

bool Trial::check_messages() {
  const std::map<std::string, Texts> lua = redis_.messages();
  std::map<std::string, Texts> ours;
  for (const Shard::Publication& it : shard_.take_publications()) {
    ours[it.node].push_back((it.topic.empty() ? "inbox" : "topic c:" + it.topic) + ": " + it.body);
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
