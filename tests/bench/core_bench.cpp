// The core alone, natively: how fast it reads ION, and the cost of its daily work.
// docs/performance.md explains the figures.
//   core_bench [--json] [FOLDER]  a table, or one line of JSON per figure; with a folder always
//                                 JSON, and its NAME.ion texts are read too
//   core_bench --memory KIND BYTES HELLO TIMES
//                                 bytes allocated for a change log (0) or history (1) that is full
//                                 of entries of BYTES, if HELLO is 1; see core_memory.hpp
//   core_bench --driven           takes commands from stdin: see core_driven.hpp
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "core_driven.hpp"
#include "core_memory.hpp"
#include "core_work.hpp"
#include "sidekick/ion/reader.hpp"

using namespace sidekick;

namespace {

bool is_json = false;

/// MB/s, or ns for one input.
void report(const std::string& name, double value, const char* unit) {
  if (is_json) {
    std::printf("{\"name\":\"%s\",\"reader\":\"native\",\"value\":%.3f,\"unit\":\"%s\"}\n",
                name.c_str(), value, unit);
  } else {
    std::printf("%-44s %10.0f %s\n", name.c_str(), value, unit);
  }
  std::fflush(stdout);
}

double nanoseconds() {
  return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::steady_clock::now().time_since_epoch())
                                 .count());
}

constexpr double span_ns = 40e6;  // of one measurement
constexpr int tries = 7;          // the best one counts: the others were disturbed

std::map<std::string, std::string> make_texts() {
  const auto todo = [](u32 id) {
    const std::string number = std::to_string(id);
    return "{ \"id\": " + number + ", \"title\": \"Water the plants on floor " +
           std::to_string(id % 17) + "\", \"done\": " + (id % 3 == 0 ? "true" : "false") +
           R"(, "tags": ["home", "weekly"], "owner": { "name": "Ada Lovelace", "age": 36.5 } })";
  };
  const auto list = [](u32 count, auto&& item) {
    std::string text = "[";
    for (u32 i = 0; i < count; ++i) text.append(i == 0 ? "" : ", ").append(item(i));
    return text + "]";
  };
  const auto sentences = [](const char* sentence, u32 times) {
    std::string text;
    for (u32 i = 0; i < times; ++i) text += sentence;
    return "\"" + text + "\"";
  };
  std::string object = "{ ";
  for (u32 i = 0; i < 80; ++i)
    object.append(i == 0 ? "" : ", ").append("\"todo-" + std::to_string(i) + "\": " + todo(i));
  return {
      {"small message",
       R"({ "type": "send", "token": "00000000-0000-4000-8000-000000000001", "channel": "chat", )"
       R"("params": { "room": "lobby" }, )"
       R"("data": { "text": "hello, everybody", "at": 1738000000000 } })"},
      {"10 KB object", object + " }"},
      {"1 MB of objects", list(8000, todo)},
      {"1 MB of strings",
       list(1000,
            [&](u32) {
              return sentences("The quick brown fox jumps over the lazy dog, and nobody minds. ",
                               16);
            })},
      {"1 MB of CJK",
       list(1000, [&](u32) { return sentences("敏捷的棕色狐狸跳过了懒狗，没有人介意。", 18); })},
      {"1 MB of emoji and words",
       list(1000,
            [&](u32) {
              return sentences("Gr\u00fc\u00dfe 🦊 über den faulen 🐕, naïve café! ", 20);
            })},
  };
}

bool read_folder(const char* folder, std::map<std::string, std::string>& texts) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".ion") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    texts[entry.path().stem().string()] = std::string(std::istreambuf_iterator<char>(file), {});
  }
  if (error)
    std::fprintf(stderr, "core_bench: cannot read %s: %s\n", folder, error.message().c_str());
  return !error;
}

bool measure_reading(const std::string& name, const std::string& text) {
  const auto read = [&](u32 times) {
    const double start = nanoseconds();
    for (u32 i = 0; i < times; ++i) {
      if (!ion::validate(text, 256).ok()) return -1.0;
    }
    return nanoseconds() - start;
  };
  u32 times = 1;
  for (double took = 0; (took = read(times)) < span_ns; times *= 2) {
    if (took < 0) {
      std::fprintf(stderr, "core_bench: %s: expected ION, %s\n", name.c_str(),
                   ion::describe(ion::validate(text, 256), text, 256).c_str());
      return false;
    }
  }
  double best = read(times);
  for (int i = 1; i < tries; ++i) best = std::min(best, read(times));
  report(name, static_cast<double>(text.size()) * times / best * 1e3, "MB/s");
  return true;
}

void measure_work(core_work::Work& work) {
  const u32 phase_count = static_cast<u32>(work.phases.size());
  const auto round = [&](std::vector<double>& spent) {
    for (u32 phase = 0; phase < phase_count; ++phase) {
      const double start = nanoseconds();
      for (u32 i = 0; i < work.batch; ++i) work.run(phase, i);
      spent[phase] += nanoseconds() - start;
    }
  };
  const auto total = [](const std::vector<double>& spent) {
    double sum = 0;
    for (const double one : spent) sum += one;
    return sum;
  };
  std::vector<double> best;
  u32 rounds = 0;
  for (int i = -1; i < tries;
       ++i) {  // the first warms up and determines how many rounds fill the span
    std::vector<double> spent(phase_count);
    if (i < 0) {
      for (; total(spent) < span_ns; ++rounds) round(spent);
      continue;
    }
    for (u32 done = 0; done < rounds; ++done) round(spent);
    if (best.empty() || total(spent) < total(best)) best = spent;
  }
  const double inputs = static_cast<double>(work.batch) * rounds;
  if (phase_count == 2 && work.phases[0] == "send frame alone")
    report("one send frame", total(best) / inputs, "ns");
  for (u32 phase = 0; phase < phase_count; ++phase)
    report(work.phases[phase], best[phase] / inputs, "ns");
}

void measure_memory(char** numbers) {
  const auto number = [&](u32 at) {
    return static_cast<u32>(std::strtoul(numbers[at], nullptr, 10));
  };
  core_memory::Fill fill(core_memory::Kind{number(0)}, number(1), number(2) != 0);
  for (u32 i = 0; i < number(3); ++i) fill.fill();
  const struct mallinfo2 heap = mallinfo2();
  std::printf("%zu\n", heap.uordblks + heap.hblkhd);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> texts = make_texts();
  if (argc == 2 && Bytes(argv[1]) == "--driven") return core_driven::Driver(texts).run();
  if (argc == 6 && Bytes(argv[1]) == "--memory") {
    measure_memory(argv + 2);
    return 0;
  }
  for (int i = 1; i < argc; ++i) {
    is_json = true;
    if (Bytes(argv[i]) != "--json" && !read_folder(argv[i], texts)) return 2;
  }
  if (!is_json) {
    std::printf("%s\n\n", argv[0]);
    for (const auto& [name, text] : texts)
      std::printf("%s: %zu bytes\n", name.c_str(), text.size());
    std::printf("\none send frame: including the answer that ends it\n\n");
  }
  for (const auto& [name, text] : texts) {
    if (!measure_reading(name, text)) return 1;
  }
  for (u32 index = 0; index < core_work::work_count; ++index)
    measure_work(*core_work::make_work(index));
  return 0;
}
