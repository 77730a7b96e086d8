// sidekick-shard-calls FIRST LAST: prints random calls of a shard for each seed, with the answers
// of the native Shard, as lines. shard.test.ts gives shard.wasm the same calls and compares.
//
// A line is a call, the time, its texts, ` = `, and the result: status, alarm, stored bytes, then
// values, publications (each with a count of nodes) and rows, with their counts. Texts are in hex,
// an empty one is `.`, none is `-`. `new` is a new shard: its epoch.
#include <cstdio>
#include <cstdlib>
#include <map>

#include "../engine/lua/calls.hpp"

namespace sidekick::lua {

namespace {

std::string hex(Bytes text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = text.empty() ? "." : "";
  for (const char c : text) {
    out += digits[static_cast<u8>(c) >> 4];
    out += digits[static_cast<u8>(c) & 15];
  }
  return out;
}

class Run {
 public:
  explicit Run(u64 seed) : dice_(seed), is_durable_(dice_.chance(500)) {
    start();
    for (u32 i = 0; i < 300; ++i) step();
  }

 private:
  void step() {
    if (dice_.chance(clock_permille_)) now_us_ += dice_.one_of<u64>({1, 1000, 3000, 90'000'000});
    if (dice_.chance(20)) now_us_ -= 2000;
    if (dice_.chance(20)) start();
    if (dice_.chance(20)) {
      shard_.tick(now_us_);
      print("tick", {}, 0, {});
    }
    if (dice_.chance(200)) change_nodes();
    const Calls::Call call = calls_.next(now_us_);
    const Shard::Answer answer = shard_.run(now_us_, call.script, views(call.args));
    Texts texts{std::string(call.script)};
    texts.insert(texts.end(), call.args.begin(), call.args.end());
    print("run", texts, answer.status, answer.values);
    calls_.note(call, answer);
  }

  /// Of a durable shard: from its rows.
  void start() {
    const std::string epoch = is_durable_ ? "v1/1" : "";
    std::printf("new %llu %s\n", static_cast<unsigned long long>(now_us_), hex(epoch).c_str());
    shard_ = Shard("v1", {.hash_seed = 7, .bytes_max = 3000, .run_bytes_max = 60, .epoch = epoch});
    if (!is_durable_) return;
    if (dice_.chance(300)) rows_["z"] = "of another version";
    const std::map<std::string, std::string> rows = rows_;
    for (const auto& [key, value] : rows)
      print("restore", {key, value}, shard_.restore(key, value) ? 0 : 1, {});
    shard_.restored(now_us_);
    print("restored", {}, 0, {});
  }

  void change_nodes() {
    const std::string node = calls_.one_of(nodes);
    Texts texts{node, calls_.one_of(topics), calls_.one_of(topics)};
    const std::vector<Bytes> some(texts.begin() + 1, texts.end());
    switch (dice_.below(8)) {
      case 0:
        shard_.detach(node);
        return print("detach", {node}, 0, {});
      case 1:
      case 2:
        shard_.attach(node);
        return print("attach", {node}, 0, {});
      case 3:
        return print("leave", texts, status_of(shard_.leave(node, some)), {});
      case 4:
        return print("replaceJoins", texts, status_of(shard_.replace_joins(node, some)), {});
      case 5:
        return print("joined", {node}, status_of(shard_.is_attached(node)), shard_.joined(node));
      default:
        return print("join", texts, status_of(shard_.join(node, some)), {});
    }
  }

  static u32 status_of(bool is_done) { return is_done ? 0 : 1; }
  static std::vector<Bytes> views(const Texts& texts) { return {texts.begin(), texts.end()}; }

  void print(const char* call, const Texts& texts, u32 status, const Texts& values) {
    std::string line = std::string(call) + " " + std::to_string(now_us_);
    for (const std::string& text : texts) line += " " + hex(text);
    line += " = " + std::to_string(status) + " " + std::to_string(shard_.alarm_at()) + " " +
            std::to_string(shard_.stored_bytes()) + " " + std::to_string(values.size());
    for (const std::string& value : values) line += " " + hex(value);
    const auto publications = shard_.take_publications();
    line += " " + std::to_string(publications.size());
    for (const Shard::Publication& it : publications) {
      line += " " + std::to_string(it.nodes.size());
      for (const std::string& node : it.nodes) line += " " + hex(node);
      line += " " + hex(it.topic) + " " + hex(it.body);
    }
    const auto rows = shard_.take_rows();
    line += " " + std::to_string(rows.size());
    for (const Shard::Row& row : rows) {
      line += " " + hex(row.key) + " " + (row.value ? hex(*row.value) : "-");
      if (row.value)
        rows_[row.key] = *row.value;
      else
        rows_.erase(row.key);
    }
    std::puts(line.c_str());
  }

  Dice dice_;
  const bool is_durable_;
  const u32 clock_permille_ = dice_.between(20, 400);
  Calls calls_{dice_};
  Shard shard_{""};
  u64 now_us_ = 1'790'000'000'000'000;
  std::map<std::string, std::string> rows_;
};

}  // namespace

}  // namespace sidekick::lua

int main(int count, char** words) {
  if (count != 3) {
    std::fputs("Usage: sidekick-shard-calls FIRST LAST (seeds)\n", stderr);
    return 2;
  }
  using sidekick::u64;
  const u64 first = std::strtoull(words[1], nullptr, 10);
  const u64 last = std::strtoull(words[2], nullptr, 10);
  for (u64 seed = first; seed <= last; ++seed) sidekick::lua::Run run(seed);
}
