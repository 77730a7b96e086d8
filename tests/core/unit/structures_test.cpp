// The core's containers under random operations, with those of the standard library as the oracle.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/deadlines.hpp"
#include "base/hash_index.hpp"
#include "base/numbers.hpp"
#include "scenario.hpp"
#include "sidekick/text.hpp"
#include "tables/topics.hpp"

namespace {

using namespace sidekick;
using test::Random;
using test::repeat;

TEST_CASE("HashIndex agrees with std::map through growth, shrinking and collisions") {
  const auto [first, last] = test::seed_range(20);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    // Few different hashes: long probe sequences that also wrap around the end.
    const u64 hash_mask = seed % 4 == 0 ? 7 : seed % 4 == 1 ? 0xF0000000F : ~0ull;
    HashIndex index;
    std::map<u32, u64> oracle;
    u32 next_id = 0;
    for (u32 step = 0; step < 4000; ++step) {
      // Fills for a while, then empties for a while.
      const bool is_filling = step / 500 % 2 == 0;
      if (oracle.empty() || random.below(10) < (is_filling ? 7u : 3u)) {
        const u64 hash = random.next() & hash_mask;
        index.add(hash, next_id);
        oracle[next_id++] = hash;
      } else {
        const auto at = std::next(oracle.begin(), random.below(static_cast<u32>(oracle.size())));
        index.remove(at->second, at->first);
        oracle.erase(at);
      }
      if (step % 50 != 0) continue;
      bool is_same = true;
      for (u32 id = 0; id < next_id; ++id) {
        const auto at = oracle.find(id);
        const u64 hash = at == oracle.end() ? id & hash_mask : at->second;
        is_same = is_same && index.find(hash, [id](u32 other) { return other == id; }) ==
                                 (at == oracle.end() ? none : id);
      }
      REQUIRE(is_same);
    }
  }
}

TEST_CASE("an empty HashIndex finds nothing") {
  const HashIndex index;
  CHECK(index.find(5, [](u32) { return true; }) == none);
}

TEST_CASE("hash_bytes depends on the seed, on every byte and on the length") {
  std::set<u64> hashes;
  for (const u64 seed : {0ull, 1ull, ~0ull}) {
    for (u32 size = 0; size < 20; ++size) {
      CHECK(hashes.insert(hash_bytes(seed, repeat(Bytes("\0", 1), size))).second);
      for (u32 at = 0; at < size; ++at) {
        std::string text = repeat(Bytes("\0", 1), size);
        text[at] = 1;
        CHECK(hashes.insert(hash_bytes(seed, text)).second);
      }
    }
  }
}

TEST_CASE("Deadlines agrees with a sorted set on the soonest deadline") {
  const auto [first, last] = test::seed_range(20);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    Deadlines deadlines;
    using Key = std::tuple<Millis, u8, u64>;
    std::map<Key, u32> oracle;
    for (u32 step = 0; step < 3000; ++step) {
      const u32 choice = random.below(10);
      if (oracle.empty() || choice < 5) {
        const Deadlines::Entry entry{random.below(50), static_cast<Due>(random.below(2)),
                                     random.next(), step};
        oracle[{entry.at, static_cast<u8>(entry.due), entry.rank}] = deadlines.add(entry);
      } else {
        const auto at =
            choice < 8 ? oracle.begin()
                       : std::next(oracle.begin(), random.below(static_cast<u32>(oracle.size())));
        deadlines.remove(at->second);
        oracle.erase(at);
      }
      REQUIRE(deadlines.empty() == oracle.empty());
      if (oracle.empty()) continue;
      const Deadlines::Entry& soonest = deadlines.soonest();
      REQUIRE(Key{soonest.at, static_cast<u8>(soonest.due), soonest.rank} == oracle.begin()->first);
    }
  }
}

TEST_CASE("a Pool reuses the slot freed last, and destroys freed content") {
  Pool<std::string> pool;
  CHECK(pool.add() == 0);
  CHECK(pool.add() == 1);
  CHECK(pool.add() == 2);
  pool[0] = "zero";
  pool[2] = "two";
  pool.remove(0);
  pool.remove(2);
  CHECK(pool.size() == 1);
  CHECK(pool.add() == 2);
  CHECK(pool[2] == "");
  CHECK(pool.add() == 0);
  CHECK(pool.add() == 3);
  CHECK(pool.size() == 4);
}

TEST_CASE("texts of a TextArena neither move nor change until reset") {
  const auto [first, last] = test::seed_range(30);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    TextArena arena;
    for (u32 round = 0; round < 4; ++round) {
      std::vector<std::pair<Bytes, std::string>> texts;
      std::vector<std::pair<const u32*, u32>> words;
      for (u32 i = 0; i < 60; ++i) {
        if (random.one_in(4)) {
          const u32 count = 1 + random.below(50);
          u32* at = arena.words(count);
          CHECK(reinterpret_cast<std::uintptr_t>(at) % 4 == 0);
          for (u32 w = 0; w < count; ++w) at[w] = i;
          words.emplace_back(at, count);
          continue;
        }
        std::string expected;
        for (u32 part = random.below(5); part > 0; --part) {
          const std::string piece =
              repeat(std::string(1, static_cast<char>('a' + random.below(26))),
                     random.below(random.one_in(10) ? 20'000 : 30));
          arena.append(piece);
          expected += piece;
          if (random.one_in(3)) {
            const u64 number = random.next() >> random.below(64);
            arena.append_number(number).append("!");
            expected += std::to_string(number) + '!';
          }
        }
        texts.emplace_back(arena.finish(), expected);
      }
      for (const auto& [text, expected] : texts) CHECK(text == expected);
      for (const auto& [at, count] : words)
        CHECK(std::all_of(at, at + count,
                          [&, first_word = *at](u32 word) { return word == first_word; }));
      arena.reset();
    }
  }
}

TEST_CASE("Digits writes every size of number") {
  for (const u64 number :
       {0ull, 9ull, 10ull, 4294967295ull, 4294967296ull, 18446744073709551615ull}) {
    CHECK(std::string(Bytes(Digits(number))) == std::to_string(number));
  }
}

TEST_CASE("decode_number reads the digits of its base without a leading zero, and nothing else") {
  u64 number = 0;
  for (const u64 written : {0ull, 9ull, 10ull, 9007199254740991ull}) {
    CHECK(decode_number(Digits(written), 10, 16, number));
    CHECK(number == written);
  }
  CHECK(decode_number("2gosa7pa2gv", 36, 11, number));
  CHECK(number == number_max);
  CHECK_FALSE(decode_number("12345", 10, 4, number));
  for (const Bytes wrong :
       {"", "00", "01", "-1", "1 ", "1.5", "/", ":", "@", "Z", "`", "{", "\xFF", "a\xC3\xA9"})
    CHECK_FALSE(decode_number(wrong, 36, 11, number));
  CHECK_FALSE(decode_number("a", 10, 16, number));
  CHECK_FALSE(decode_number("1e3", 10, 16, number));
}

TEST_CASE("Topics keeps the subscribers of each topic, sorted, and no topic without subscribers") {
  const auto [first, last] = test::seed_range(20);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    Topics topics(seed);
    std::map<std::string, std::set<u32>> oracle;
    for (u32 step = 0; step < 2000; ++step) {
      const std::string name =
          (random.one_in(4) ? "channel:" : "resource:\n") + std::to_string(random.below(40));
      const u32 client = random.below(10);
      if (random.one_in(2)) {
        REQUIRE(topics.subscribe(topics.intern(name), client) ==
                oracle[name].insert(client).second);
      } else if (const TopicId topic = topics.find(name); topic != none) {
        REQUIRE(topics.unsubscribe(topic, client) == (oracle[name].erase(client) == 1));
        topics.release_if_idle(topic);
        if (oracle[name].empty()) oracle.erase(name);
      }
      const auto at = oracle.find(name);
      const TopicId topic = topics.find(name);
      REQUIRE((topic == none) == (at == oracle.end()));
      if (topic != none)
        REQUIRE(topics.subscribers(topic) ==
                std::vector<u32>(at->second.begin(), at->second.end()));
      REQUIRE(topics.count() == oracle.size());
    }
    u64 bytes = 0;
    for (const auto& [name, clients] : oracle) {
      if (name.starts_with("channel:")) continue;  // tokens bound those
      const u64 as_recorded = name.size() + 3;     // two quotes, and the newline takes two bytes
      bytes += name.size() + 128 + (as_recorded + 16) * clients.size();
    }
    CHECK(topics.store_bytes() == bytes);
  }
}

TEST_CASE("a topic is marked once per round") {
  Topics topics(0);
  const TopicId topic = topics.intern("t");
  topics.begin_marks();
  CHECK_FALSE(topics.is_marked(topic));
  CHECK(topics.mark(topic));
  CHECK_FALSE(topics.mark(topic));
  CHECK(topics.is_marked(topic));
  topics.begin_marks();
  CHECK(topics.mark(topic));
}

}  // namespace
