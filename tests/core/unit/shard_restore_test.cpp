// A durable shard that is dropped and restored from its rows between any two calls answers like one
// that was never dropped, except for the data that docs/architecture.md says is lost.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "scenario.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/shard.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using engine::Shard;
using engine::ShardConfig;
using Texts = std::vector<std::string>;

/// A durable shard with its rows, and the stamps that it has given out.
struct Side {
  std::map<std::string, std::string> rows;
  std::vector<u64> stamps{0};
  Shard shard = empty();

  explicit Side(u64 now_us) { start(now_us); }

  static Shard empty() { return Shard("v1", {.hash_seed = 7, .epoch = "v1/1"}); }

  void start(u64 now_us) {
    shard = empty();
    for (const auto& [key, value] : rows) REQUIRE(shard.restore(key, value));
    shard.restored(now_us);
    store();
  }
  void store() {
    for (const Shard::Row& row : shard.take_rows()) {
      if (row.value)
        rows[row.key] = *row.value;
      else
        rows.erase(row.key);
    }
  }
  /// The number of stamps up to this one: what two shards have in common.
  std::string ordinal(Bytes stamp) const {
    const u64 at = std::stoull(std::string(stamp));
    const auto end = std::upper_bound(stamps.begin(), stamps.end(), at);
    return "#" + std::to_string(end - stamps.begin());
  }
  Texts names_of(Bytes kind) const {
    Texts names;
    for (const auto& [key, value] : rows) {
      if (key.starts_with(kind)) names.push_back(key.substr(1));
    }
    return names;
  }
};

std::vector<Bytes> views(const Texts& texts) { return {texts.begin(), texts.end()}; }

constexpr u64 begin_us = 1'790'000'000'000'000;

TEST_CASE("durable shard: tokens, leases and attached nodes survive; nodes receive all topics") {
  Side side(begin_us);
  side.shard.attach("A");
  const auto run = [&](Bytes script, const Texts& args) {
    const Shard::Answer answer = side.shard.run(begin_us, script, views(args));
    REQUIRE(answer.status == 0);
    side.store();
    return answer.values;
  };
  run("beat", {"A", "0", "1"});
  run("register", {"T", "R", "9000"});
  CHECK(run("claim", {"T", "A", "s", "9000"})[0] == "ok");
  CHECK(side.names_of("t") == Texts{"T"});
  side.start(begin_us);
  CHECK(side.shard.is_attached("A"));
  CHECK(side.shard.holds().at(0).node == "A");
  CHECK(run("claim", {"T", "B", "s2", "9000"})[0] == "held");  // the lease is for ever
  side.shard.take_publications();
  CHECK(run("sync", {"A", "e9", "v1/1", "v1", "0"})[0] == "v1/1");
  CHECK(run("sync", {"A", "e9", "other", "p0", "99999"})[0] == "v1/1");

  for (u32 i = 1; i <= 33; ++i) {
    run("update", {"9", "x"});
    const auto heard = side.shard.take_publications();
    REQUIRE(heard.size() == (i % 16 == 0 ? 2 : 1));
    CHECK(heard[0].topic == "x");
    if (i % 16 == 0) CHECK((heard[1].topic.empty() && heard[1].body == "joins"));
  }
  const std::vector<Bytes> joined{"y"};
  side.shard.join("A", std::vector<Bytes>{"x"});
  CHECK(side.shard.replace_joins("A", joined));
  run("update", {"9", "x", "y"});
  const auto heard = side.shard.take_publications();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].topic == "y");
  CHECK_FALSE(side.shard.replace_joins("B", joined));

  side.start(begin_us);
  for (u32 i = 0; i < 2; ++i) {
    side.shard.leave("A", std::vector<Bytes>{"x"});
    const auto asked = side.shard.take_publications();
    REQUIRE(asked.size() == (i == 0 ? 1 : 0));
    if (i == 0) CHECK((asked[0].topic.empty() && asked[0].body == "joins"));
  }
  CHECK(side.shard.replace_joins("A", joined));
  side.shard.leave("A", joined);
  CHECK(side.shard.take_publications().empty());

  side.shard.detach("A");
  side.store();
  side.start(begin_us);
  CHECK_FALSE(side.shard.is_attached("A"));
  run("update", {"9", "y"});
  CHECK(side.shard.take_publications().empty());
}

TEST_CASE("durable shard: stamps rise over each restore, also if the clock steps back") {
  Side side(begin_us);
  test::Random random{1};
  u64 latest = 0;
  u64 now_us = begin_us;
  for (u32 i = 0; i < 500; ++i) {
    Texts args{"9"};
    for (u32 count = random.below(300) + 1; count > 0; --count)
      args.push_back(std::to_string(count));
    const Shard::Answer answer = side.shard.run(now_us, "update", views(args));
    const u64 at = std::stoull(answer.values[0]);
    REQUIRE(at - (args.size() - 2) > latest);
    latest = at;
    side.store();
    now_us = now_us + random.below(1'000'000) - 500'000;
    if (random.one_in(4)) side.start(now_us);
  }
}

TEST_CASE("durable shard: stamps are above those of messages, also if the bound's row is lost") {
  Side side(begin_us);
  side.shard.run(begin_us + 60'000'000, "message", views({"x", "text", "9", "5", "900000"}));
  side.store();
  const std::string at = side.names_of("m").at(0).substr(1);
  side.rows.erase("b");
  side.start(begin_us);
  CHECK(side.shard.run(begin_us, "update", views({"9", "x"})).values[0] > at.substr(1));
}

TEST_CASE("durable shard: the bound of the stamps is stored every 10 s, not for each stamp") {
  Side side(begin_us);
  const auto rows_of_update = [&](u64 now_us) {
    side.shard.run(now_us, "update", views({"9", "x"}));
    return side.shard.take_rows().size();
  };
  CHECK(side.rows.size() == 1);
  const u64 bound = begin_us + 1'000'000 + 10'000'000;
  CHECK(rows_of_update(bound - 1) == 0);
  CHECK(rows_of_update(bound - 1) == 0);
  CHECK(rows_of_update(bound - 1) == 1);
  CHECK(rows_of_update(bound + 9'999'999) == 0);
}

TEST_CASE("durable shard: the alarm comes within a minute of the next expiry, and removes rows") {
  Side side(begin_us);
  CHECK(side.shard.alarm_at() == 0);
  side.shard.run(begin_us, "register", views({"T", "R", "90000"}));
  side.shard.run(begin_us, "message", views({"x", "text", "9", "5", "70000"}));
  side.shard.run(begin_us, "message", views({"x", "text", "9", "5", "70000"}));
  side.store();
  CHECK(side.rows.size() == 4);
  const Millis first = side.shard.alarm_at();
  CHECK(first > begin_us / 1000 + 70'000);
  CHECK(first <= begin_us / 1000 + 130'000);
  side.shard.tick(begin_us + 70'000'000);
  side.store();
  CHECK(side.rows.size() == 4);  // it is there until the last millisecond is over
  side.shard.tick(begin_us + 70'001'000);
  side.store();
  CHECK(side.names_of("t") == Texts{"T"});
  CHECK(side.names_of("m").empty());
  side.shard.tick(begin_us + 90'001'000);
  side.store();
  CHECK(side.names_of("t").empty());
  CHECK(side.shard.alarm_at() == 0);
}

TEST_CASE("durable shard: history is trimmed in the rows, and a change outside of it ends it") {
  Side side(begin_us);
  const auto run = [&](Bytes script, Texts args) {
    const Texts values = side.shard.run(begin_us, script, views(args)).values;
    side.store();
    return values;
  };
  const std::string start = run("changed", {"v1/1", "", "x"})[0];
  Texts at;
  for (const char* const text : {"one", "two", "three"})
    at.push_back(run("message", {"x", text, "9", "2", "9000"})[0]);
  CHECK(side.names_of("m").size() == 2);
  side.start(begin_us);
  const auto history = [&](const std::string& since) {
    Texts values = run("history", {"x", "v1/1", since, "99"});
    values.erase(values.begin());
    return values;
  };
  CHECK(history(start) == Texts{"lost"});
  CHECK(history(at[0]) == Texts{"ok", at[1], "two", at[2], "three"});
  CHECK(history(at[2]) == Texts{"ok"});
  at.push_back(run("message", {"x", "four", "9", "2", "9000"})[0]);
  CHECK(history(at[2]) == Texts{"ok", at[3], "four"});
  side.start(begin_us);
  CHECK(history(at[2]) == Texts{"ok", at[3], "four"});

  const auto rows_of = [&](Bytes script, const Texts& args) {
    side.shard.run(begin_us, script, views(args));
    const std::vector<Shard::Row> rows = side.shard.take_rows();
    for (const Shard::Row& row : rows) side.rows.erase(row.key);
    return std::count_if(rows.begin(), rows.end(),
                         [](const Shard::Row& row) { return row.key.starts_with('m'); });
  };
  CHECK(rows_of("update", {"9", "x"}) == 2);
  CHECK(rows_of("update", {"9", "x"}) == 0);
  CHECK(side.names_of("m").empty());
  // It forgets one that has no row.
  CHECK(rows_of("message", {"x", "five", "9", "2", "9000"}) == 1);
  side.start(begin_us);
  CHECK(history(at[2]) == Texts{"lost"});
  CHECK(history(at[3]) == Texts{"lost"});
}

TEST_CASE("durable shard: a row that is damaged or of another kind is ignored") {
  Side side(begin_us);
  side.shard.attach("A");
  side.shard.run(begin_us, "beat", views({"A", "0", "1"}));
  side.shard.run(begin_us, "register", views({"T", "R", "9000"}));
  side.shard.run(begin_us, "claim", views({"T", "A", "s", "9000"}));
  side.shard.run(begin_us, "message", views({"x", "text", "9", "5", "9000"}));
  side.store();
  const u64 bytes = Side::empty().stored_bytes();
  for (const auto& [key, value] : side.rows) {
    CAPTURE(key);
    for (std::size_t size = 0; size < value.size(); ++size) {
      // Any part of a text is a text.
      if (key.starts_with('m') && size >= value.size() - 4) continue;
      CAPTURE(value.substr(0, size));
      Shard shard = Side::empty();
      CHECK_FALSE(shard.restore(key, value.substr(0, size)));
      CHECK(shard.stored_bytes() == bytes);
    }
    Shard shard = Side::empty();
    if (!key.starts_with('m')) CHECK_FALSE(shard.restore(key, value + "1"));
    CHECK(shard.restore(key, value));
    if (key.starts_with('m') || key.starts_with('t')) CHECK_FALSE(shard.restore(key, value));
  }
  Shard shard = Side::empty();
  for (const Bytes key : {"", "z", "zA", "bA", "m", "mx123", "mx1234567890123456x"})
    CHECK_FALSE(shard.restore(key, "1 1 text"));
  for (const Bytes value : {"1 1 ---", "1 1 1:R1:A-", "1 1 1:R-1:s", "1 1 -1:A-", "1 1 -1:A1:s",
                            "1 1 1:R1:--", "1 1 -1:-1:s", "1 1 2:R--", "1 1 99:R--"})
    CHECK_FALSE(shard.restore("tT", value));
  for (const Bytes value : {"", "1", " ", "01 ", "-1 ", "9007199254740992 ", "1 1 "})
    CHECK_FALSE(shard.restore("b", value));
  CHECK(shard.restore("b", "9007199254740991 "));
}

// --- a twin that is never dropped ---

const Texts nodes{"A", "B", "C"};
const Texts tokens{"T", "U", std::string("V\0\r\n", 4), ""};
const Texts sessions{"s1", "s2", "", "-"};
const Texts topics{"x", "x1", "z", std::string("\0 \xff\n", 4)};
const Texts texts{"", "one", "0123456789", std::string("\0\r\n\xff", 4)};
const Texts spans_ms{"0", "1", "2", "5", "50", "1000", "90000", "9007199254740991"};
const Texts counts{"0", "1", "2", "3", "100", "100"};

class Twins {
 public:
  explicit Twins(u64 seed) : random_{seed} {
    const bool has_plain_history = random_.one_in(2);
    if (has_plain_history) history_max_ = "3";
  }

  void run(u32 steps) {
    for (u32 i = 0; i < steps; ++i) step();
  }
  u32 found() const { return found_; }  ///< messages after a restore, from before it
  u32 forgotten() const {
    return forgotten_;
  }  ///< answers that only the restored one does not know

 private:
  struct Change {
    std::size_t ordinal = 0;
    std::optional<std::string> text;  ///< of a message that is kept
  };

  const std::string& one_of(const Texts& list) {
    return list[random_.below(static_cast<u32>(list.size()))];
  }

  void step() {
    if (random_.one_in(3)) now_us_ += random_.below(random_.one_in(5) ? 40'000'000 : 3000);
    if (random_.one_in(40)) now_us_ -= random_.below(5000);
    if (random_.one_in(20)) drop();
    if (random_.one_in(4)) change_nodes();
    const EngineScript& script = engine::scripts[random_.below(std::size(engine::scripts))];
    call(script);
    REQUIRE(holds(kept_) == holds(dropped_));
    REQUIRE(kept_.names_of("t") == dropped_.names_of("t"));
    REQUIRE(kept_.names_of("n") == dropped_.names_of("n"));
  }

  void drop() {
    kept_.shard.tick(now_us_);
    kept_.store();
    dropped_.start(now_us_);
    for (const std::string& node : nodes) is_open_[node] = kept_.shard.is_attached(node);
    drops_at_ = kept_.stamps.size();
  }

  void change_nodes() {
    const std::string node = one_of(nodes);
    const Texts some{one_of(topics), one_of(topics)};
    const u32 choice = random_.below(10);
    for (Side* const side : {&kept_, &dropped_}) {
      if (choice == 0) side->shard.detach(node);
      if (choice < 3) side->shard.attach(node);
      if (choice >= 3 && choice < 7) side->shard.join(node, views(some));
      if (choice >= 7) side->shard.leave(node, views(some));
      side->store();
      if (choice < 7) REQUIRE(side->shard.take_publications().empty());
    }
    // It may be asked for its joins, which it then tells.
    if (choice >= 7) REQUIRE(heard(kept_) == heard(dropped_));
    if (choice == 0) is_open_[node] = false;
    CHECK(kept_.shard.is_attached(node) == dropped_.shard.is_attached(node));
    if (!is_open_[node]) REQUIRE(kept_.shard.joined(node) == dropped_.shard.joined(node));
  }

  /// One for each shard: their stamps differ.
  struct Pair {
    std::string kept, dropped;
  };

  Pair argument(const EngineField& field) {
    const auto both = [](const std::string& text) { return Pair{text, text}; };
    switch (field.kind) {
      case EngineKind::token:
        return both(one_of(tokens));
      case EngineKind::session:
        return both(one_of(sessions));
      case EngineKind::record:
      case EngineKind::text:
        return both(one_of(texts));
      case EngineKind::topic:
        return both(one_of(topics));
      case EngineKind::node:
        return both(one_of(nodes));
      case EngineKind::epoch:
        return both(random_.one_in(20) ? "other" : "v1/1");
      case EngineKind::server:
        return both(random_.one_in(3) ? "other" : "v1");
      case EngineKind::since:
      case EngineKind::stamp: {
        const std::size_t recent = std::min<std::size_t>(kept_.stamps.size(), 12);
        since_ = kept_.stamps.size() - 1 - random_.below(static_cast<u32>(recent));
        return {std::to_string(kept_.stamps[since_]), std::to_string(dropped_.stamps[since_])};
      }
      case EngineKind::number:
        if (field.name == "bytes_max") return both("1000");
        if (field.name == "history_max" && !history_max_.empty()) return both(history_max_);
        return both(one_of(field.name.ends_with("_ms") ? spans_ms : counts));
      case EngineKind::word:
      case EngineKind::end:
        break;
    }
    trap();
  }

  void call(const EngineScript& script) {
    Texts kept, dropped;
    const auto add = [&](const EngineField& field) {
      const Pair pair = argument(field);
      kept.push_back(pair.kept);
      dropped.push_back(pair.dropped);
    };
    u32 single = 0;
    while (script.arguments[single].kind != EngineKind::end &&
           !script.arguments[single].is_repeated)
      add(script.arguments[single++]);
    if (script.arguments[single].kind != EngineKind::end) {
      for (u32 groups = random_.below(3) + 1; groups > 0; --groups) {
        for (u32 i = single; script.arguments[i].kind != EngineKind::end; ++i)
          add(script.arguments[i]);
      }
    }
    CAPTURE(script.name);
    const Texts expected = answer(kept_, script, kept);
    const Texts found = answer(dropped_, script, dropped);
    if (script.name == "history")
      check_history(kept[0], expected, found);
    else if (script.name == "changed" && expected != found)
      check_changed(found);
    else
      REQUIRE(expected == found);
    REQUIRE(heard(kept_) == heard(dropped_));
  }

  /// With stamps as ordinals.
  Texts answer(Side& side, const EngineScript& script, const Texts& args) {
    const Shard::Answer answer = side.shard.run(now_us_, script.name, views(args));
    REQUIRE(answer.status == 0);
    side.store();
    if (script.name == "update" || script.name == "message") note(side, script.name, args, answer);
    Texts values;
    for (u32 i = 0; i < answer.values.size(); ++i) {
      const bool is_stamp = engine_field_at(script.values, i).kind == EngineKind::stamp;
      values.push_back(is_stamp ? side.ordinal(answer.values[i]) : answer.values[i]);
    }
    return values;
  }

  void note(Side& side, Bytes script, const Texts& args, const Shard::Answer& answer) {
    const bool is_update = script == "update";
    const u64 count = is_update ? args.size() - 1 : 1;
    for (u64 i = 0; i < count; ++i) {
      side.stamps.push_back(std::stoull(answer.values[0]) - count + 1 + i);
      if (&side != &kept_) continue;
      Change change{side.stamps.size() - 1, std::nullopt};
      if (!is_update && args[3] != "0" && args[4] != "0") change.text = args[1];
      changes_[is_update ? args[1 + i] : args[0]].push_back(std::move(change));
    }
  }

  void check_changed(const Texts& found) {
    REQUIRE(found.size() == 2);
    REQUIRE(found[1] == "all");
    ++forgotten_;
  }

  /// It may have lost them, or know better: the log of the other one may be cut.
  void check_history(const std::string& topic, const Texts& expected, const Texts& found) {
    REQUIRE(found[0] == expected[0]);
    if (expected != found && found[1] == "lost") {
      ++forgotten_;
      return;
    }
    for (std::size_t i = 2; i < found.size(); i += 2) {
      if (since_ < drops_at_ && std::stoull(found[i].substr(1)) <= drops_at_) ++found_;
    }
    if (expected == found) return;
    Texts all{found[0], "ok"};
    for (const Change& change : changes_[topic]) {
      if (change.ordinal <= since_) continue;
      REQUIRE(change.text);
      all.push_back("#" + std::to_string(change.ordinal + 1));
      all.push_back(*change.text);
    }
    REQUIRE(found == all);
  }

  /// By node; without what a node hears only because its joins are not known.
  std::map<std::string, Texts> heard(Side& side) {
    std::map<std::string, Texts> heard;
    for (const Shard::Publication& it : side.shard.take_publications()) {
      for (const std::string& node : it.nodes) hear(side, node, it, heard[node]);
    }
    std::erase_if(heard, [](const auto& it) { return it.second.empty(); });
    return heard;
  }

  void hear(Side& side, const std::string& node, const Shard::Publication& it, Texts& heard) {
    if (it.topic.empty() && it.body == "joins") {
      REQUIRE((&side == &dropped_ && is_open_[node]));
      REQUIRE(side.shard.replace_joins(node, views(kept_.shard.joined(node))));
      is_open_[node] = false;
      return;
    }
    const Texts joined = kept_.shard.joined(node);
    if (!it.topic.empty() && std::find(joined.begin(), joined.end(), it.topic) == joined.end()) {
      REQUIRE((&side == &dropped_ && side.shard.is_attached(node)));
      return;
    }
    std::string body = it.body;
    if (!it.topic.empty()) {
      const std::size_t end = std::min(body.find(' '), body.size());
      body = side.ordinal(body.substr(0, end)) + body.substr(end);
    } else if (body.starts_with("beat")) {
      const std::size_t begin = body.find(' ', body.find(' ', 5) + 1) + 1;
      const std::size_t end = body.find(' ', begin);
      body =
          body.substr(0, begin) + side.ordinal(body.substr(begin, end - begin)) + body.substr(end);
    }
    heard.push_back(it.topic + "|" + body);
  }

  static std::map<std::string, Texts> holds(const Side& side) {
    std::map<std::string, Texts> holds;
    for (const Shard::Hold& hold : side.shard.holds())
      holds[hold.token] = {hold.node, hold.session};
    return holds;
  }

  test::Random random_;
  u64 now_us_ = begin_us;
  Side kept_{now_us_};
  Side dropped_{now_us_};
  std::string history_max_;  ///< empty: any
  std::size_t since_ = 0;
  std::size_t drops_at_ = 0;
  std::map<std::string, std::vector<Change>> changes_;
  std::map<std::string, bool> is_open_;
  u32 found_ = 0;
  u32 forgotten_ = 0;
};

TEST_CASE("durable shard: dropped at any time, it answers like one that was never dropped") {
  const auto [first, last] = test::seed_range(60);
  u32 found = 0, forgotten = 0;
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Twins twins(seed);
    twins.run(600);
    found += twins.found();
    forgotten += twins.forgotten();
  }
  CHECK(found > 0);
  CHECK(forgotten > 0);
}

}  // namespace
