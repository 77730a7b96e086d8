// The module's heap, over an array as its memory: blocks never overlap, freed blocks merge, and
// running out of memory does no damage.
#include "../../wasm-bindings/runtime/heap.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

using namespace sidekick;

namespace {

constexpr u32 bytes_max = 32u << 20;

struct TestMemory {
  alignas(16) static inline char bytes[bytes_max];
  static inline u32 used = 0;

  static char* at(u32 offset) { return bytes + offset; }
  static u32 begin() { return 1001; }
  static u32 end() { return used; }
  static bool grow(u32 more) {
    const u32 rounded = (more + 65535) & ~65535u;
    if (rounded > bytes_max - used) return false;
    used += rounded;
    return true;
  }
};

/// A heap over a fresh memory, with a record of its allocations.
class Rig {
 public:
  explicit Rig(u32 seed) : random(seed), heap(std::make_unique<Heap<TestMemory>>()) {
    std::memset(TestMemory::bytes, 0, TestMemory::used);  // as WebAssembly guarantees
    TestMemory::used = 65536;
  }

  struct Given {
    char* at;
    u32 size;
    char fill;
  };

  bool take(u32 size) {
    char* at = static_cast<char*>(heap->allocate(size));
    if (at == nullptr) return false;
    REQUIRE((at - TestMemory::bytes) % 16 == 0);
    REQUIRE(at >= TestMemory::bytes + TestMemory::begin());
    REQUIRE(at + size <= TestMemory::bytes + TestMemory::used);
    const char fill = static_cast<char>(random());
    std::memset(at, fill, size);
    given.push_back({at, size, fill});
    return true;
  }

  void give_back(std::size_t index) {
    const Given it = given[index];
    REQUIRE(std::all_of(it.at, it.at + it.size, [&](char c) { return c == it.fill; }));
    heap->release(it.at);
    given[index] = given.back();
    given.pop_back();
  }

  void give_all_back() {
    while (!given.empty()) give_back(random() % given.size());
  }

  std::mt19937 random;
  std::unique_ptr<Heap<TestMemory>> heap;
  std::vector<Given> given;
};

}  // namespace

TEST_CASE("heap: blocks never overlap, in any order of allocating and freeing") {
  for (u32 seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    for (int step = 0; step < 20000; ++step) {
      if (rig.given.empty() || rig.random() % 100 < 52) {
        rig.take(rig.random() % 2 == 0 ? rig.random() % 200
                                       : rig.random() % (1u << rig.random() % 17));
      } else {
        rig.give_back(rig.random() % rig.given.size());
      }
    }
    rig.give_all_back();
  }
}

TEST_CASE("heap: when everything is freed, one block remains") {
  Rig rig(1);
  for (int i = 0; i < 5000; ++i) REQUIRE(rig.take(rig.random() % 3000));
  rig.give_all_back();
  const u32 used = TestMemory::used;
  const u32 whole = used - TestMemory::begin() - 64;
  CHECK(rig.take(whole));
  CHECK(TestMemory::used == used);
}

TEST_CASE("heap: running out of memory does no damage, and freed memory can be allocated again") {
  Rig rig(1);
  while (rig.take(100000)) {
  }
  CHECK_FALSE(rig.take(bytes_max));
  CHECK_FALSE(rig.take(0xFFFFFFFF));
  const std::size_t count = rig.given.size();
  CHECK(count > bytes_max / 100000 - 3);
  rig.give_all_back();
  while (rig.take(100000)) {
  }
  CHECK(rig.given.size() == count);
}

TEST_CASE("heap: sizes around every boundary") {
  Rig rig(1);
  for (u32 size = 0; size < 2100; ++size) REQUIRE(rig.take(size));
  for (u32 power = 12; power < 22; ++power) {
    for (u32 size = (1u << power) - 20; size < (1u << power) + 20; ++size) {
      REQUIRE(rig.take(size));
      rig.give_back(rig.given.size() - 1);
    }
  }
  rig.give_all_back();
}

TEST_CASE("heap: allocating and freeing in many sizes does not grow it without bound") {
  // 2 MB of live blocks whose sizes change all the time; every second block of a generation stays
  // for one more.
  Rig rig(7);
  for (u32 generation = 0; generation < 200; ++generation) {
    const u32 size = 16 + 37 * (generation % 97);
    std::size_t live = 0;
    for (const Rig::Given& it : rig.given) live += it.size;
    for (; live < 2'000'000; live += size) REQUIRE(rig.take(size));
    for (std::size_t i = rig.given.size(); i-- > 0;) {
      if (rig.random() % 2 == 0) rig.give_back(i);
    }
  }
  CHECK(TestMemory::used < 4 * 2'000'000);
}

TEST_CASE("heap: a block that grows repeatedly reuses the space it left") {
  // Like a vector: allocate the next block, half as large again, then free the old one.
  Rig rig(1);
  for (int round = 0; round < 50; ++round) {
    REQUIRE(rig.take(64));
    for (u32 size = 96; size < 1'000'000; size += size / 2) {
      REQUIRE(rig.take(size));
      rig.give_back(rig.given.size() - 2);
    }
    rig.give_all_back();
  }
  CHECK(TestMemory::used < 4'000'000);
}

TEST_CASE("heap: the same calls return the same addresses") {
  const auto run = [] {
    Rig rig(3);
    std::vector<char*> places;
    for (int step = 0; step < 3000; ++step) {
      if (rig.given.empty() || rig.random() % 3 != 0) {
        rig.take(rig.random() % 500);
        places.push_back(rig.given.back().at);
      } else {
        rig.give_back(rig.random() % rig.given.size());
      }
    }
    return places;
  };
  CHECK(run() == run());
}
