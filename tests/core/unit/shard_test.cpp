// The engine, as its protocol: scripts in, values and messages out. A line is a script and its
// arguments; '' is an empty one. The clock begins at 10 s, and the first sync puts `at` one second
// ahead of it, so stamps begin at 11000000.
#include <doctest/doctest.h>

#include <map>

#include "scenario.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/shard.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using engine::Shard;
using engine::ShardConfig;

std::vector<std::string> split(Bytes text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::vector<std::string> words_of(Bytes line) {
  std::vector<std::string> words = split(line, ' ');
  std::erase(words, "");
  for (std::string& word : words) {
    if (word == "''") word.clear();
  }
  return words;
}

std::vector<Bytes> views(const std::vector<std::string>& words) {
  return {words.begin(), words.end()};
}

std::string trimmed(Bytes text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == Bytes::npos
             ? ""
             : std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
}

/// A shard with a clock. The nodes A, B and C are attached.
struct Talk {
  explicit Talk(ShardConfig config = {}) : shard("p1", config) { attach(); }

  void attach() {
    for (const Bytes node : {"A", "B", "C"}) shard.attach(node);
  }

  /// The values, or `refused: ` and the reason.
  std::string run(Bytes line) {
    const std::vector<std::string> words = words_of(line);
    std::vector<Bytes> args = views(words);
    const Bytes script = args.front();
    args.erase(args.begin());
    const Shard::Answer answer = shard.run(now_us, script, args);
    for (const Shard::Publication& it : shard.take_publications()) {
      for (const std::string& node : it.nodes)
        heard[node] += (it.topic.empty() ? it.body : it.topic + ": " + it.body) + "; ";
    }
    std::string text = answer.status == 0 ? "" : "refused: ";
    for (const std::string& value : answer.values)
      text += (text.empty() || answer.status != 0 ? "" : " ") + (value.empty() ? "''" : value);
    return text;
  }
  void run_all(Bytes lines) {
    for (const std::string& line : split(lines, '\n')) {
      if (!trimmed(line).empty()) run(line);
    }
  }

  /// What a node has received since the last call of this.
  std::string hears(const std::string& node) {
    std::string text = std::move(heard[node]);
    heard[node].clear();
    return text.empty() ? "" : text.substr(0, text.size() - 2);
  }

  void join(Bytes node, std::vector<Bytes> topics) { CHECK(shard.join(node, topics)); }
  void after_ms(u64 span) { now_us += span * 1000; }

  Shard shard;
  u64 now_us = 10'000'000;
  std::map<std::string, std::string> heard;
};

/// Each line: state | call | answer | what A hears. `state` names lines that come first.
void check_table(const std::map<std::string, Bytes>& states, Bytes table) {
  for (const std::string& row : split(table, '\n')) {
    if (trimmed(row).empty()) continue;
    CAPTURE(row);
    const std::vector<std::string> cells = split(row, '|');
    REQUIRE(cells.size() == 4);
    Talk talk;
    talk.run("sync A e1 '' '' 0");
    REQUIRE(states.contains(trimmed(cells[0])));
    talk.run_all(states.at(trimmed(cells[0])));
    talk.hears("A");
    if (trimmed(cells[0]).find("after 1001 ms") != std::string::npos) talk.after_ms(1001);
    CHECK(talk.run(cells[1]) == trimmed(cells[2]));
    CHECK(talk.hears("A") == trimmed(cells[3]));
  }
}

/// Of the token T, which A holds in the session s, with a lease of 1 s.
const std::map<std::string, Bytes> token_states = {
    {"unknown", ""},
    {"free", "beat A 1000 1\n register T R 9000"},
    {"held", "beat A 1000 1\n register T R 9000\n claim T A s 9000"},
    {"held, after 1001 ms", "beat A 1000 1\n register T R 9000\n claim T A s 9000"},
    {"released", "beat A 1000 1\n register T R 9000\n claim T A s 9000\n release A 9000 T s"},
    {"erased", "beat A 1000 1\n register T R 9000\n claim T A s 9000\n erase T A s 9000"},
};

TEST_CASE("shard: register stores a token unless a node that is alive holds it") {
  check_table(token_states, R"(
    unknown             | register T R2 5  | ok   |
    free                | register T R2 5  | ok   |
    held                | register T R2 5  | held | asked s T
    held, after 1001 ms | register T R2 5  | ok   |
    released            | register T R2 5  | ok   |
    erased              | register T R2 5  | ok   |
  )");
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n register T R 9000\n update 9 x\n register T R2 9000");
  CHECK(talk.run("claim T A s 9000") == "ok R2 11000001 11000001 0");
}

TEST_CASE(
    "shard: claim takes a token that is free, of the same session or of a node without lease") {
  check_table(token_states, R"(
    unknown             | claim T B s2 9000 | none                     |
    free                | claim T B s2 9000 | ok R 11000000 11000000 0 |
    free                | claim U B s2 9000 | none                     |
    held                | claim T B s2 9000 | held                     | asked s T
    held                | claim T B s 9000  | ok R 11000000 11000000 0 | taken s T
    held                | claim T A s 9000  | ok R 11000000 11000000 1 |
    held                | claim T A s2 9000 | ok R 11000000 11000000 0 |
    held, after 1001 ms | claim T B s2 9000 | ok R 11000000 11000000 0 | taken s T
    held, after 1001 ms | claim T A s 9000  | ok R 11000000 11000000 1 |
    released            | claim T B s2 9000 | ok R 11000000 11000000 0 |
    erased              | claim T B s2 9000 | none                     |
    erased              | claim T A s 9000  | none                     |
  )");
}

TEST_CASE("shard: of ten claims of a free token, exactly one succeeds") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n beat A 9000 1\n beat B 9000 1\n beat C 9000 1");
  talk.run("register T R 9000");
  CHECK(talk.run("claim T C s0 9000").starts_with("ok"));
  for (const char* node : {"A", "B", "A", "B", "A", "B", "A", "B", "A"})
    CHECK(talk.run(std::string("claim T ") + node + " s1 9000") == "held");
}

TEST_CASE("shard: release frees tokens of this node and session, and no others") {
  Talk talk;
  talk.run_all(R"(
    sync A e1 '' '' 0
    beat A 9000 1
    register T R 9000
    register U R 9000
    register V R 9000
    claim T A s 9000
    claim U A s2 9000
    claim V B s 9000
  )");
  CHECK(talk.run("release A 500 T s U s V s W s") == "");
  const std::vector<Shard::Hold> holds = talk.shard.holds();
  REQUIRE(holds.size() == 2);
  CHECK(holds[0].token + holds[0].node + holds[0].session == "UAs2");
  CHECK(holds[1].token + holds[1].node + holds[1].session == "VBs");
  CHECK(talk.run("claim T C s9 9000").starts_with("ok R"));
}

TEST_CASE("shard: erase leaves a tombstone unless another session holds the token") {
  check_table(token_states, R"(
    unknown             | erase T A s 9000  | ok   |
    free                | erase T A s 9000  | ok   |
    held                | erase T A s 9000  | ok   |
    held                | erase T A s2 9000 | held |
    held                | erase T B s 9000  | held |
    held, after 1001 ms | erase T B s 9000  | held |
    erased              | erase T B s2 9000 | ok   |
  )");
  Talk talk;
  CHECK(talk.run("erase T A s 9000") == "ok");
  CHECK(talk.run("reclaim A 9000 T s R") == "1");
}

TEST_CASE("shard: reclaim says whether the node holds the token, and restores what is absent") {
  check_table(token_states, R"(
    unknown             | reclaim A 9000 T s ''  | 3 |
    unknown             | reclaim A 9000 T s R   | 4 |
    free                | reclaim B 9000 T s2 '' | 4 |
    held                | reclaim A 9000 T s ''  | 0 |
    held                | reclaim A 9000 T s R2  | 0 |
    held                | reclaim A 9000 T s2 '' | 4 |
    held                | reclaim B 9000 T s ''  | 2 |
    held                | reclaim B 9000 T s2 R2 | 1 |
    held, after 1001 ms | reclaim B 9000 T s ''  | 4 |
    held, after 1001 ms | reclaim B 9000 T s2 '' | 4 |
    held, after 1001 ms | reclaim A 9000 T s ''  | 0 |
    released            | reclaim A 9000 T s ''  | 4 |
    erased              | reclaim A 9000 T s R   | 1 |
    held    | reclaim A 9000 T s '' U s '' V s R T s2 '' | 0 3 4 4 |
  )");
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n reclaim A 9000 T s R");
  CHECK(talk.run("claim T A s 9000") == "ok R 11000000 11000000 1");
}

TEST_CASE("shard: a token and a lease exist up to the last millisecond of their time, not after") {
  const std::map<std::string, Bytes> states = {
      {"registered", "register T R 500"},
      {"claimed", "register T R 9000\n claim T A s 500"},
      {"released", "register T R 9000\n claim T A s 9000\n release A 500 T s"},
      {"reclaimed", "reclaim A 500 T s R"},
  };
  for (const auto& [name, lines] : states) {
    CAPTURE(name);
    for (const u64 span : {499, 500, 501}) {
      CAPTURE(span);
      Talk talk;
      talk.now_us += 999;  // whole milliseconds count
      talk.run_all(lines);
      talk.now_us -= 999;
      talk.after_ms(span);
      CHECK(talk.run("claim T A s 500").starts_with(span <= 500 ? "ok" : "none"));
    }
  }
  for (const u64 span : {499, 500, 501}) {
    CAPTURE(span);
    Talk talk;
    talk.run_all("beat A 500 1\n register T R 9000\n claim T A s 9000\n erase U A s 500");
    talk.after_ms(span);
    CHECK(talk.run("claim T B s2 9000").substr(0, 4) == (span <= 500 ? "held" : "ok R"));
    CHECK(talk.run("reclaim A 9000 U s R") == (span <= 500 ? "1" : "4"));  // the tombstone
    talk.hears("A");
    talk.run("beat A 500 2");
    CHECK(talk.hears("A") == (span <= 500 ? "beat 2 1 0 -" : "beat 2 0 0 -"));
  }
}

TEST_CASE("shard: a time of 0 removes a token at once, and makes a lease last for ever") {
  for (const Bytes lines :
       {"register T R 0", "register T R 9\n claim T A s 0", "reclaim A 0 T s R",
        "register T R 9\n claim T A s 9\n release A 0 T s", "register T R 9\n erase T A s 0"}) {
    CAPTURE(lines);
    Talk talk;
    talk.run_all(lines);
    CHECK(talk.run("reclaim A 9 T s ''") == "3");
  }
  Talk talk;
  talk.run_all("beat A 500 1\n beat A 0 2\n register T R 99999999\n claim T A s 99999999");
  talk.after_ms(9'000'000);
  CHECK(talk.run("claim T B s2 9000") == "held");
  talk.hears("A");
  talk.run("beat A 500 3");
  CHECK(talk.hears("A") == "beat 3 1 0 -");
  talk.after_ms(501);
  CHECK(talk.run("claim T B s2 9000").starts_with("ok"));
}

TEST_CASE("shard: the number, the lease, the position and the epoch come with a heartbeat") {
  Talk talk;
  CHECK(talk.run("beat A 1000 1") == "");
  CHECK(talk.hears("A") == "beat 1 0 0 -");
  talk.run("sync A e1 '' '' 0");
  talk.run("beat A 1000 2");
  CHECK(talk.hears("A") == "beat 2 1 11000000 e1");
  talk.run("beat D 1000 7");  // not attached
  CHECK(talk.hears("B") + talk.hears("C") + talk.hears("D") == "");
}

TEST_CASE("shard: a heartbeat moves the position with the clock, and later stamps are above it") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n update 9 x");
  talk.after_ms(3000);
  CHECK(talk.run("changed e1 11000001 x") == "11000001");  // no node was told a later one
  talk.run("beat A 9000 1");
  CHECK(talk.hears("A") == "beat 1 0 13000000 e1");
  talk.now_us -= 5'000'000;
  talk.run("beat A 9000 2");
  CHECK(talk.hears("A") == "beat 2 1 13000000 e1");
  CHECK(talk.run("changed e1 13000000 x") == "13000000");
  CHECK(talk.run("update 9 x") == "13000001");
  CHECK(talk.run("changed e1 13000000 x") == "13000001 0");
  // Another process: nothing is lost, and its stamps are above, too.
  talk.shard.restart("p2", talk.shard);
  CHECK(talk.run("sync A e2 e1 p1 13000001") == "e1 p2 14000001");
}

TEST_CASE("shard: what a heartbeat told does not hide that changes were lost") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n update 9 x");
  Shard copy = talk.shard;
  talk.run("update 9 x");  // 11000002
  talk.shard.restart("p2", copy);
  talk.after_ms(9000);
  talk.run("beat A 9000 1");
  CHECK(talk.run("sync A e2 e1 p1 11000002").starts_with("e2"));
}

TEST_CASE("shard: a change comes to the nodes that joined its topic, in the order of the stamps") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.join("A", {"x", "y"});
  talk.join("B", {"y", "y"});
  CHECK(talk.run("update 9 x y z y") == "11000004");
  CHECK(talk.hears("A") == "x: 11000001; y: 11000002; y: 11000004");
  CHECK(talk.hears("B") == "y: 11000002; y: 11000004");
  CHECK(talk.run("message y hello 9 0 0") == "11000005");
  CHECK(talk.hears("A") == "y: 11000005 hello");
  CHECK(talk.hears("B") == "y: 11000005 hello");
  CHECK(talk.shard.leave("A", std::vector<Bytes>{"y", "never joined"}));
  talk.run("update 9 x y");
  CHECK(talk.hears("A") == "x: 11000006");
  CHECK(talk.hears("B") == "y: 11000007");
  CHECK(talk.hears("C") == "");
}

TEST_CASE("shard: a node that lost its connection receives nothing until it joins again") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.join("A", {"x"});
  talk.join("B", {"x"});
  talk.shard.detach("A");
  CHECK_FALSE(talk.shard.join("A", std::vector<Bytes>{"x"}));
  CHECK_FALSE(talk.shard.leave("A", std::vector<Bytes>{"x"}));
  talk.run_all("update 9 x\n beat A 1000 1");
  CHECK(talk.hears("A") == "");
  CHECK(talk.hears("B") == "x: 11000001");
  talk.shard.attach("A");
  talk.run_all("update 9 x\n beat A 1000 2");
  CHECK(talk.hears("A") == "beat 2 1 11000002 e1");
  talk.join("A", {"x"});
  CHECK(talk.shard.joined("A") == std::vector<std::string>{"x"});
  talk.run("update 9 x");
  CHECK(talk.hears("A") == "x: 11000003");
}

TEST_CASE("shard: names and texts may hold any bytes") {
  Talk talk;
  const Bytes odd("a \0\xff\n", 5), other("a \0\xff\r", 5);
  talk.shard.join("A", std::vector<Bytes>{odd});
  const std::vector<Bytes> args = {"9", odd, other, Bytes("", 0)};
  CHECK(talk.shard.run(1, "update", args).status == 0);
  const auto publications = talk.shard.take_publications();
  REQUIRE(publications.size() == 1);
  CHECK(publications[0].topic == odd);
  CHECK(talk.shard.run(1, "register", std::vector<Bytes>{odd, other, "9"}).status == 0);
  const std::vector<Bytes> claim = {odd, "A", odd, "9"};
  CHECK(talk.shard.run(1, "claim", claim).values[1] == other);
  CHECK(talk.shard.run(1, "claim", std::vector<Bytes>{other, "A", odd, "9"}).values[0] == "none");
}

TEST_CASE("shard: nodes share the body of a message") {
  Talk talk;
  for (const Bytes node : {"A", "C"}) talk.shard.join(node, std::vector<Bytes>{"x"});
  talk.shard.run(1, "message", std::vector<Bytes>{"x", "text", "9", "0", "0"});
  const auto publications = talk.shard.take_publications();
  REQUIRE(publications.size() == 1);
  CHECK(publications[0].nodes == std::vector<std::string>{"A", "C"});
  CHECK(publications[0].body.ends_with(" text"));
}

TEST_CASE("shard: a stamp is the clock, and above the last one") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  CHECK(talk.run("update 9 x") == "11000001");
  talk.now_us = 20'000'000;
  CHECK(talk.run("update 9 x") == "20000000");
  CHECK(talk.run("update 9 x y") == "20000002");
  talk.now_us = 19'000'000;  // set back
  CHECK(talk.run("message x text 9 0 0") == "20000003");
}

// The log has the changes of a, b and c at 11000001 to 11000003. a is not known any more, since the
// log holds two topics: the floor is at its change.
const std::map<std::string, Bytes> change_states = {
    {"empty", ""},
    {"two left", "update 2 a b c"},
};

TEST_CASE("shard: changed gives the topics that changed since, or all if it does not know") {
  check_table(change_states, R"(
    empty    | changed e1 11000000 a b         | 11000000         |
    empty    | changed e1 10999999 a b         | 11000000 all     |
    two left | changed e1 '' a b c             | 11000003         |
    two left | changed e1 11000000 a b c       | 11000003 all     |
    two left | changed e1 11000001 a b c       | 11000003 1 2     |
    two left | changed e1 11000002 a b c c     | 11000003 2 3     |
    two left | changed e1 11000003 a b c       | 11000003         |
    two left | changed e1 11000004 a b c       | 11000003 all     |
    two left | changed e2 11000002 a b c       | 11000003 all     |
    two left | changed '' 11000002 a b c       | 11000003 all     |
    two left | changed e1 -1 b                 | 11000003 all     |
  )");
  Talk talk;
  CHECK(talk.run("changed e1 0 x") == "0 all");
  CHECK(talk.run("changed '' 0 x") == "0 all");
}

TEST_CASE("shard: a negative since looks back so many milliseconds") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.now_us = 20'000'000;
  talk.run("update 9 x");
  talk.after_ms(500);
  talk.run("update 9 y");
  CHECK(talk.run("changed e1 -499 x y") == "20500000 1");
  CHECK(talk.run("changed e1 -500 x y") == "20500000 1");
  CHECK(talk.run("changed e1 -501 x y") == "20500000 0 1");
  CHECK(talk.run("changed e1 -9500 x y") == "20500000 0 1");
  CHECK(talk.run("changed e1 -9501 x y") == "20500000 all");
  CHECK(talk.run("changed e1 -9007199254740991 x y") == "20500000 all");
}

TEST_CASE("shard: a since may be up to a second ahead of the clock") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.now_us = 20'000'000;
  CHECK(talk.run("changed e1 21000000 x") == "11000000");
  CHECK(talk.run("changed e1 21000001 x") == "11000000 all");
  CHECK(talk.run("history x e1 21000000 9") == "11000000 ok");
  CHECK(talk.run("history x e1 21000001 9") == "11000000 lost");
}

TEST_CASE("shard: the log forgets the topics longest unchanged, and raises its floor") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.run("update 3 a b");
  CHECK(talk.run("changed e1 11000000 a b") == "11000002 0 1");
  talk.run("update 3 c");
  CHECK(talk.run("changed e1 11000000 a b c") == "11000003 0 1 2");
  talk.run("update 3 a");  // moves to the end
  CHECK(talk.run("changed e1 11000000 a b c") == "11000004 0 1 2");
  talk.run("message d text 3 0 0");
  CHECK(talk.run("changed e1 11000001 a b c d") == "11000005 all");
  CHECK(talk.run("changed e1 11000002 a b c d") == "11000005 0 2 3");
  talk.run("update 0 e");
  CHECK(talk.run("changed e1 11000005 a b c d e") == "11000006 all");
  CHECK(talk.run("changed e1 11000006 a b c d e") == "11000006");
}

const std::map<std::string, Bytes> history_states = {
    {"none", ""},
    {"two", "message x one 9 5 1000\n message x two 9 5 1000"},
    {"two of three", "message x one 9 2 1000\n message x two 9 2 1000\n message x three 9 2 1000"},
    {"two, after 1001 ms", "message x one 9 5 1000\n message x two 9 5 1000"},
    {"a change in the middle", "message x one 9 5 1000\n update 9 x\n message x two 9 5 1000"},
    {"a change at the end", "message x one 9 5 1000\n update 9 x"},
    {"one unknown at the end", "message x one 9 5 1000\n message x two 9 0 0"},
    {"the log is cut", "message x one 9 5 1000\n update 1 a b\n message x two 9 5 1000"},
    {"the log ends", "message x one 9 5 1000\n update 1 a b"},
    {"removed", "message x one 9 5 1000\n message x two 9 5 0"},
    {"removed, then one", "message x one 9 5 1000\n message x 2 9 5 0\n message x three 9 5 9"},
};

TEST_CASE("shard: history gives the messages since, or lost if one may be missing") {
  check_table(history_states, R"(
    none                   | history x e1 11000000 99 | 11000000 ok                           |
    none                   | history x e1 10999999 99 | 11000000 lost                         |
    none                   | history x e2 11000000 99 | 11000000 lost                         |
    two                    | history x e1 11000000 99 | 11000002 ok 11000001 one 11000002 two |
    two                    | history x e1 11000001 99 | 11000002 ok 11000002 two              |
    two                    | history x e1 11000002 99 | 11000002 ok                           |
    two                    | history x e1 11000000 6  | 11000002 ok 11000001 one 11000002 two |
    two                    | history x e1 11000000 5  | 11000002 lost                         |
    two                    | history x e1 10999999 99 | 11000002 lost                         |
    two                    | history y e1 11000000 99 | 11000002 ok                           |
    two                    | history x e1 11000003 99 | 11000002 lost                         |
    two of three           | history x e1 11000000 99 | 11000003 lost                         |
    two of three           | history x e1 11000001 99 | 11000003 ok 11000002 two 11000003 three |
    two, after 1001 ms     | history x e1 11000001 99 | 11000002 lost                         |
    two, after 1001 ms     | history x e1 11000002 99 | 11000002 ok                           |
    a change in the middle | history x e1 11000001 99 | 11000003 lost                         |
    a change in the middle | history x e1 11000002 99 | 11000003 ok 11000003 two              |
    a change at the end    | history x e1 11000000 99 | 11000002 lost                         |
    a change at the end    | history x e1 11000002 99 | 11000002 ok                           |
    one unknown at the end | history x e1 11000000 99 | 11000002 lost                         |
    the log is cut         | history x e1 11000000 99 | 11000004 ok 11000001 one 11000004 two |
    the log is cut         | history x e1 11000001 99 | 11000004 lost                         |
    the log is cut         | history x e1 11000002 99 | 11000004 ok 11000004 two              |
    the log ends           | history x e1 11000001 99 | 11000003 lost                         |
    the log ends           | history x e1 11000002 99 | 11000003 ok                           |
    removed                | history x e1 11000001 99 | 11000002 lost                         |
    removed                | history x e1 11000002 99 | 11000002 ok                           |
    removed, then one      | history x e1 11000000 99 | 11000003 lost                         |
    removed, then one      | history x e1 11000002 99 | 11000003 ok 11000003 three            |
  )");
}

TEST_CASE("shard: the first sync sets the epoch, and all nodes get the same") {
  Talk talk;
  CHECK(talk.run("sync A e1 '' '' 0") == "e1 p1 11000000");
  CHECK(talk.run("sync B e2 '' '' 0") == "e1 p1 11000000");
  CHECK(talk.run("sync A e3 e1 p1 11000000") == "e1 p1 11000000");
  CHECK(talk.run("sync A e3 e1 p1 99000000") == "e1 p1 11000000");  // the process knows better
}

TEST_CASE("shard: after a restart with its data, a node that has seen more proves a loss") {
  struct Row {
    Bytes sync, answer;
  };
  // p1 ended at 11000002.
  for (const Row& row : {Row{"sync A e2 e1 p1 11000001", "e1 p2 12000002"},
                         Row{"sync A e2 e1 p1 11000002", "e1 p2 12000002"},
                         Row{"sync A e2 e1 p1 11000003", "e2 p2 12000003"},
                         Row{"sync A e2 e1 p0 0", "e2 p2 12000003"},  // which has never ended here
                         Row{"sync A e2 e0 p1 11000002", "e1 p2 12000002"},
                         Row{"sync A e2 e0 p1 11000003", "e2 p2 12000003"},
                         Row{"sync A e2 '' '' 0", "e1 p2 12000002"}}) {
    CAPTURE(row.sync);
    Talk talk;
    talk.run_all("sync A e1 '' '' 0\n update 9 x y");
    talk.shard.restart("p2", talk.shard);
    CHECK(talk.run(row.sync) == row.answer);
    CHECK(talk.run("sync B e3 '' '' 0").starts_with(row.answer.substr(0, 5)));
  }
}

TEST_CASE("shard: data from before a loss proves another loss to those who have seen the first") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  const Shard old = talk.shard;
  talk.shard.restart("p2");
  CHECK(talk.run("sync A e2 e1 p1 11000000") == "e2 p2 11000000");
  talk.shard.restart("p3", old);
  CHECK(talk.run("sync B e3 e1 p1 11000000") == "e1 p3 12000000");
  CHECK(talk.run("sync A e3 e2 p2 11000000") == "e3 p3 12000001");
  CHECK(talk.run("sync C e4 e2 p2 11000000") == "e3 p3 12000001");  // all of them count once
  CHECK(talk.run("sync B e4 e1 p3 12000000") == "e3 p3 12000001");
}

TEST_CASE("shard: data from before an epoch proves a loss to those who have seen its changes") {
  Talk talk;
  talk.run("sync B e1 '' '' 0");
  const Shard old = talk.shard;
  CHECK(talk.run("sync A e2 e0 p0 0") == "e2 p1 11000001");
  talk.run("update 9 x");
  talk.shard.restart("p2", old);
  CHECK(talk.run("sync B e3 e1 p1 11000000") == "e1 p2 12000000");
  CHECK(talk.run("sync A e4 e2 p1 11000002") == "e4 p2 12000001");
  CHECK(talk.run("sync C e5 e2 p1 11000002") == "e4 p2 12000001");  // all of them count once
  CHECK(talk.run("sync B e6 e1 p2 12000000") == "e4 p2 12000001");
}

TEST_CASE("shard: data from before an epoch proves a loss to those who know the epoch") {
  Talk talk;
  talk.run("sync B e1 '' '' 0");
  const Shard old = talk.shard;
  CHECK(talk.run("sync A e2 e0 p0 0") == "e2 p1 11000001");
  talk.shard.restart("p2", old);
  CHECK(talk.run("sync B e3 e1 p1 11000000") == "e1 p2 12000000");
  CHECK(talk.run("sync A e4 e2 p1 11000001") == "e4 p2 12000001");
  CHECK(talk.run("sync B e6 e1 p2 12000000") == "e4 p2 12000001");
}

TEST_CASE("shard: a node that missed a restart still proves a loss in the process before") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  const Shard old = talk.shard;
  talk.run("update 9 x");
  talk.shard.restart("p2", old);
  CHECK(talk.run("sync B e2 '' '' 0") == "e1 p2 12000000");
  talk.shard.restart("p3", talk.shard);
  CHECK(talk.run("sync B e2 e1 p2 12000000") == "e1 p3 13000000");
  CHECK(talk.run("sync A e3 e1 p1 11000001") == "e3 p3 13000001");
  CHECK(talk.run("changed e1 11000001 x") == "13000001 all");
}

TEST_CASE("shard: the stamps of a new process are above those of one with a clock 1 s ahead") {
  Talk talk;
  talk.run("sync A e1 '' '' 0");
  talk.now_us = 20'000'000;
  talk.run("update 9 x");
  talk.shard.restart("p2", talk.shard);
  talk.now_us = 19'000'000;
  CHECK(talk.run("sync A e2 e1 p1 20000000") == "e1 p2 21000000");
  talk.shard.restart("p3", talk.shard);
  talk.now_us = 30'000'000;
  CHECK(talk.run("sync A e2 e1 p2 21000000") == "e1 p3 31000000");
}

TEST_CASE("shard: remembers the latest 16 former processes") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n update 9 x");
  for (int i = 2; i <= 18; ++i) {
    talk.shard.restart("p" + std::to_string(i), talk.shard);
    talk.run("sync A e2 '' '' 0");
  }
  CHECK(talk.run("sync B e3 e1 p2 0").starts_with("e1 p18"));
  CHECK(talk.run("sync B e4 e1 p1 0").starts_with("e4 p18"));
  // It is not remembered either: it is older than the others.
  CHECK(talk.run("sync C e5 e4 p1 0").starts_with("e5 p18"));
}

TEST_CASE("shard: an empty restart begins a new epoch and knows no change before") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n register T R 9000\n claim T A s 9000\n update 9 x");
  talk.join("A", {"x"});
  talk.shard.restart("p2");
  CHECK_FALSE(talk.shard.is_attached("A"));
  talk.attach();
  CHECK(talk.run("sync A e2 e1 p1 11000001") == "e2 p2 11000000");
  CHECK(talk.run("changed e2 11000000 x") == "11000000");
  CHECK(talk.run("changed e2 10999999 x") == "11000000 all");
  CHECK(talk.run("claim T A s 9000") == "none");
  talk.run("update 9 x");
  CHECK(talk.hears("A") == "");
}

TEST_CASE("shard: a flush loses the data, but neither joins nor the process") {
  Talk talk;
  talk.join("A", {"x"});
  const u64 joins = talk.shard.stored_bytes();
  talk.run_all("sync A e1 '' '' 0\n register T R 9000");
  talk.shard.flush();
  CHECK(talk.shard.stored_bytes() == joins);
  talk.run("beat A 1000 1");
  CHECK(talk.hears("A") == "beat 1 0 0 -");
  CHECK(talk.run("sync A e2 e1 p1 11000000") == "e2 p1 11000000");
  CHECK(talk.run("claim T A s 9000") == "none");
  talk.run("update 9 x");
  CHECK(talk.hears("A") == "x: 11000001");
}

TEST_CASE("shard: two primaries, of which the second has an old copy, go on independently") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n register T R 9000");
  Talk second;
  second.shard.restart("p2", talk.shard);
  CHECK(second.run("sync B e2 e1 p1 11000000") == "e1 p2 12000000");
  CHECK(talk.run("claim T A s 9000").starts_with("ok"));
  CHECK(second.run("claim T B s2 9000").starts_with("ok"));
  CHECK(talk.run("sync A e3 e1 p1 11000000") == "e1 p1 11000000");
}

TEST_CASE("shard: while its memory is full, tokens can be held and nothing new is stored") {
  Talk talk;
  talk.run_all("sync A e1 '' '' 0\n register T R 9000\n message x one 9 5 9000");
  talk.shard.set_full(true);
  for (const Bytes line : {"register U R 9000", "update 9 x", "message x two 9 5 9000"}) {
    CHECK(talk.run(line) ==
          "refused: OOM " + words_of(line)[0] + ": the memory of the shard is full (bytes_max)");
  }
  CHECK(talk.run("sync A e2 e1 p1 0") == "e1 p1 11000001");
  CHECK(talk.run("beat A 1000 1") == "");
  CHECK(talk.run("claim T A s 9000").starts_with("ok"));
  CHECK(talk.run("reclaim A 9000 T s '' V s R") == "0 4");
  CHECK(talk.run("release A 9000 T s") == "");
  CHECK(talk.run("erase T A s 9000") == "ok");
  CHECK(talk.run("changed e1 11000000 x") == "11000001 0");
  CHECK(talk.run("history x e1 11000000 9") == "11000001 ok 11000001 one");
  talk.shard.set_full(false);
  CHECK(talk.run("register U R 9000") == "ok");
}

TEST_CASE("shard: a script with wrong arguments is refused with the reason, and changes nothing") {
  struct Row {
    Bytes line, reason;
  };
  constexpr Row rows[] = {
      {"flushall", "expected a script of the engine, got \"flushall\""},
      {"'' a b", "expected a script of the engine, got \"\""},
      {"sync A e1 '' ''", "sync: wrong number of arguments: 4"},
      {"sync A e1 '' '' 0 0", "sync: wrong number of arguments: 6"},
      {"sync A e1 '' '' x", "sync: expected a number as top, got \"x\""},
      {"beat A -1 1", "beat: expected a number as lease_ms, got \"-1\""},
      {"beat A 01 1", "beat: expected a number as lease_ms, got \"01\""},
      {"beat A 1000 1e3", "beat: expected a number as number, got \"1e3\""},
      {"register T R ''", "register: expected a number as ttl_ms, got \"\""},
      {"register T R 9007199254740992",
       "register: expected a number as ttl_ms, got \"9007199254740992\""},
      {"claim T A s", "claim: wrong number of arguments: 3"},
      {"release A 9", "release: wrong number of arguments: 2"},
      {"release A 9 T", "release: wrong number of arguments: 3"},
      {"reclaim A 9 T s '' T s", "reclaim: wrong number of arguments: 7"},
      {"update 9", "update: wrong number of arguments: 1"},
      {"update", "update: wrong number of arguments: 0"},
      {"message x text 9 1", "message: wrong number of arguments: 4"},
      {"changed e1 -0 x", "changed: expected a stamp as since, got \"-0\""},
      {"changed e1 - x", "changed: expected a stamp as since, got \"-\""},
      {"history x e1 -5 9", "history: expected a number as since, got \"-5\""},
  };
  Talk talk;
  talk.run("beat A 0 1");
  const u64 bytes = talk.shard.stored_bytes();
  talk.hears("A");
  for (const Row& row : rows) {
    CAPTURE(row.line);
    CHECK(talk.run(row.line) == "refused: " + std::string(row.reason));
    CHECK(talk.shard.stored_bytes() == bytes);
    CHECK(talk.hears("A") == "");
  }
  CHECK(talk.run("register T R 9007199254740991") == "ok");
}

TEST_CASE("shard: random arguments trap nothing, and a refused script stores nothing") {
  const std::string odd[] = {"",
                             "0",
                             "1",
                             "-",
                             "-1",
                             "9007199254740991",
                             "9007199254740992",
                             "a b",
                             std::string("\0\xff", 2),
                             "e1",
                             "A",
                             "T"};
  const auto [first, last] = test::seed_range(20);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    test::Random random{seed};
    Talk talk;
    for (u32 step = 0; step < 2000; ++step) {
      const EngineScript& script = engine::scripts[random.below(std::size(engine::scripts))];
      std::vector<Bytes> args;
      for (u32 count = random.below(8); count > 0; --count)
        args.push_back(odd[random.below(std::size(odd))]);
      if (random.one_in(20)) talk.now_us = random.next() >> random.below(64);
      talk.run("changed '' '' x");  // removes what has expired
      const u64 bytes = talk.shard.stored_bytes();
      const Shard::Answer answer = talk.shard.run(talk.now_us, script.name, args);
      REQUIRE(answer.status <= 1);
      if (answer.status == 1) {
        REQUIRE(talk.shard.stored_bytes() == bytes);
        REQUIRE(talk.shard.take_publications().empty());
      }
      talk.shard.take_publications();
    }
  }
}

TEST_CASE("shard: a run is limited in bytes, and the shard in what it stores") {
  Talk run({.run_bytes_max = 10});
  CHECK(run.run("update 9 123456789") == "10000000");
  CHECK(run.run("update 9 1234567890") ==
        "refused: update: the arguments exceed 10 bytes (run_bytes_max)");

  Talk talk({.bytes_max = 2 * (64 + 1)});
  CHECK(talk.run("update 9 x") == "10000000");
  CHECK(talk.run("update 9 y") == "10000001");
  CHECK(talk.run("update 9 x").starts_with("refused: OOM"));
  CHECK(talk.run("changed '' '' x") == "10000001");
}

TEST_CASE("shard: joins take at most half of the memory; then the largest node gets all topics") {
  constexpr u64 bytes_max = 8192;
  Talk talk({.bytes_max = bytes_max});
  talk.shard.join("A", std::vector<Bytes>{"x", "y"});
  CHECK(talk.shard.stored_bytes() > 0);
  talk.shard.leave("A", std::vector<Bytes>{"x", "y"});
  CHECK(talk.shard.stored_bytes() == 0);

  const std::vector<Bytes> few{"b1", "b2"};
  talk.shard.join("B", few);
  u32 count = 0;
  const auto join_more = [&] {
    const std::string name = "a" + std::to_string(++count);
    talk.shard.join("A", std::vector<Bytes>{name});
    return !talk.shard.joined("A").empty();
  };
  while (join_more()) REQUIRE(talk.shard.stored_bytes() <= bytes_max / 2);
  CHECK(count > 10);
  CHECK(talk.shard.joined("B") == std::vector<std::string>{"b1", "b2"});
  for (u32 i = 1; i <= 2 * 4096; ++i) {
    talk.run("update 0 z");
    const std::string heard = talk.hears("A");
    REQUIRE(heard.starts_with("z: "));
    REQUIRE(heard.ends_with("; joins") == (i % 4096 == 0));
    REQUIRE(talk.hears("B").empty());
  }
  CHECK(talk.shard.replace_joins("A", few));
  talk.run("update 0 z b1");
  CHECK(talk.hears("A").starts_with("b1: "));
  CHECK(talk.hears("B").starts_with("b1: "));
}

TEST_CASE("shard: what has expired or was removed takes no memory") {
  Talk talk;
  talk.run("register T R 500");
  const u64 one = talk.shard.stored_bytes();
  CHECK(one > 0);
  talk.run_all(R"(
    claim T A session 500
    register U R 500
    erase V A s 500
    beat A 500 1
    beat B 500 1
    message x text 0 3 500
    message x text 0 3 500
    message y text 0 1 500
    message y text 0 1 500
  )");
  talk.after_ms(501);
  talk.run("changed '' '' x");
  CHECK(talk.shard.stored_bytes() == 0);
  talk.run_all("register T R 500\n claim T A session 500\n release A 500 T session");
  CHECK(talk.shard.stored_bytes() == one);
}

}  // namespace
