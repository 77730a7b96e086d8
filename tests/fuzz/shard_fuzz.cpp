// A durable shard: scripts with any arguments, nodes that come and go, a clock that jumps, drops at
// any moment, and rows that nobody wrote. One that was never dropped must hold the same tokens. At
// the end time passes, and nothing that expires may remain.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "choices.hpp"
#include "fuzz.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/shard.hpp"

using namespace sidekick;
using engine::Shard;
using fuzz::Choices;
using fuzz::Exact;

namespace {

constexpr Bytes nodes[] = {"A", "B", "-", "", Bytes("\0\xff", 2)};
constexpr Bytes words[] = {"T", "U", "", "s", "x", "x1", "A", "-", "v1", "v1/1", "-5", "-0"};
constexpr Bytes numbers[] = {"1",
                             "1000",
                             "0",
                             "2",
                             "90000",
                             "01",
                             "9007199254740991",
                             "9007199254740992",
                             "1790000011000000",
                             "1790000011000001",
                             "99999999999999999999"};
constexpr u64 begin_us = 1'790'000'000'000'000;
constexpr u64 clock_max = number_max / 2;

class Host {
 public:
  Host() { start(kept_, kept_rows_); }

  void step(Choices& choices) {
    switch (choices.below(16)) {
      case 0:
        return move_clock(choices);
      case 1:
        return drop(choices);
      case 2:
      case 3:
      case 4:
        return change_nodes(choices);
      default:
        return run(choices);
    }
  }

  void leave_nothing() {
    now_us_ = clock_max;
    start(dropped_, rows_);
    if (is_tampered_) return;
    std::map<std::string, u64> expiries;  // by token and channel: the latest message decides
    for (const auto& [key, value] : rows_) {
      if (key[0] != 't' && key[0] != 'm') continue;
      const std::string owner = key[0] == 't' ? key : key.substr(0, key.size() - 17);
      expiries[owner] = std::stoull(value.substr(value.find(' ')));
    }
    // The rest is as far ahead as a script may ask for.
    for (const auto& [owner, expires_at] : expiries) FUZZ_CHECK(expires_at >= clock_max / 1000);
  }

 private:
  using Rows = std::map<std::string, std::string>;

  static Shard empty() {
    return Shard("v1", {.hash_seed = 7, .bytes_max = 3000, .run_bytes_max = 200, .epoch = "v1/1"});
  }

  void start(Shard& shard, Rows& rows) {
    shard = empty();
    for (const auto& [key, value] : rows) {
      const bool is_read = shard.restore(Exact(key), Exact(value));
      FUZZ_CHECK(is_read || is_tampered_);
    }
    shard.restored(now_us_);
    store(shard, rows);
  }

  static void store(Shard& shard, Rows& rows) {
    for (Shard::Row& row : shard.take_rows()) {
      FUZZ_CHECK(!row.key.empty());
      if (row.value)
        rows[row.key] = *row.value;
      else
        rows.erase(row.key);
    }
  }

  void move_clock(Choices& choices) {
    const u64 span = u64{choices.byte()} << choices.below(32);
    now_us_ = choices.below(8) == 0 ? now_us_ - std::min(now_us_, span) : now_us_ + span;
    now_us_ = std::min(now_us_, clock_max);
  }

  void drop(Choices& choices) {
    kept_.tick(now_us_);
    store(kept_, kept_rows_);
    if (choices.below(4) == 0) {
      is_tampered_ = true;
      const Bytes key = choices.raw();
      rows_[std::string(key)] = choices.raw();
    }
    rows_.erase("");
    started_ = true;
    start(dropped_, rows_);
  }

  void change_nodes(Choices& choices) {
    const Exact node(choices.one_of(nodes));
    const Exact topic(choices.one_of(words));
    const Bytes topics[] = {topic, topic};
    const u32 choice = choices.below(8);
    for (Shard* const shard : {&kept_, &dropped_}) {
      if (shard == &dropped_ && !started_) continue;
      const bool is_attached = shard->is_attached(node);
      if (choice < 2) shard->attach(node);
      if (choice == 2) shard->detach(node);
      if (choice == 3) FUZZ_CHECK(shard->replace_joins(node, topics) == is_attached);
      if (choice == 4) FUZZ_CHECK(shard->leave(node, topics) == is_attached);
      if (choice > 4) FUZZ_CHECK(shard->join(node, topics) == is_attached);
      FUZZ_CHECK(shard->joined(node).empty() || is_attached || choice < 2);
      for (const Shard::Publication& it : shard->take_publications())
        FUZZ_CHECK(choice == 4 && it.topic.empty() && it.body == "joins");
    }
    store_both();
  }

  void run(Choices& choices) {
    const EngineScript& script = engine::scripts[choices.below(std::size(engine::scripts))];
    std::vector<Exact> texts;
    const u32 shape = choices.below(8);
    // Mostly as many as the script takes.
    u32 count = choices.below(10);
    if (shape != 0) {
      count = 1;
      while (!is_engine_count(script.arguments, count)) ++count;
    }
    for (u32 i = 0; i < count; ++i) texts.emplace_back(argument(choices, script, i));
    const std::vector<Bytes> args(texts.begin(), texts.end());
    const Exact name(shape == 7 && choices.below(8) == 0 ? choices.raw() : script.name);
    const Shard::Answer kept = kept_.run(now_us_, name, args);
    check(kept_, kept);
    if (started_) check(dropped_, dropped_.run(now_us_, name, args));
    store_both();
    if (started_ && !is_tampered_ && !is_ever_full_) FUZZ_CHECK(holds(kept_) == holds(dropped_));
  }

  static Bytes argument(Choices& choices, const EngineScript& script, u32 index) {
    if (choices.below(32) == 0) return choices.raw();
    const EngineKind kind = engine_field_at(script.arguments, index).kind;
    const bool is_number = kind == EngineKind::number || kind == EngineKind::stamp ||
                           (kind == EngineKind::since && choices.below(2) == 0);
    return is_number ? choices.one_of(numbers) : choices.one_of(words);
  }

  void check(Shard& shard, const Shard::Answer& answer) {
    FUZZ_CHECK(answer.status <= 1);
    const auto publications = shard.take_publications();
    if (answer.status == 1) {
      FUZZ_CHECK(answer.values.size() == 1 && publications.empty());
      // They differ in the change log, and so in what is full.
      is_ever_full_ |= answer.values[0].starts_with("OOM");
    }
    for (const Shard::Publication& it : publications) {
      FUZZ_CHECK(!it.nodes.empty());
      for (const std::string& node : it.nodes) FUZZ_CHECK(shard.is_attached(node));
    }
    FUZZ_CHECK(shard.alarm_at() <= number_max);
  }

  void store_both() {
    store(kept_, kept_rows_);
    if (started_)
      store(dropped_, rows_);
    else
      rows_ = kept_rows_;
  }

  static std::map<std::string, std::string> holds(const Shard& shard) {
    std::map<std::string, std::string> holds;
    for (const Shard::Hold& hold : shard.holds())
      holds[hold.token] = hold.node + ' ' + hold.session;
    return holds;
  }

  u64 now_us_ = begin_us;
  Shard kept_ = empty();
  Shard dropped_ = empty();
  Rows kept_rows_, rows_;
  bool started_ = false;  ///< the other one, with the rows of the first
  bool is_tampered_ = false;
  bool is_ever_full_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices(Bytes(reinterpret_cast<const char*>(data), size));
  Host host;
  while (!choices.is_empty()) host.step(choices);
  host.leave_nothing();
  return 0;
}
