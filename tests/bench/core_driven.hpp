// The core's work on command, for `scripts/bench --against`: another process chooses the work, and
// counts instructions or compares clocks around it. One command per line, one line of JSON back:
//
//   list             the names
//   run ROUNDS NAME  {"units":N,"cpu_us":T}: inputs applied (or texts read); their CPU time
//
// It exits at the end of stdin, and with status 2 on an unknown command.
#pragma once

#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "core_work.hpp"
#include "sidekick/ion/reader.hpp"

namespace core_driven {

using namespace sidekick;

inline double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

class Driver {
 public:
  explicit Driver(const std::map<std::string, std::string>& texts) : texts_(texts) {}

  int run() {
    std::string line;
    while (std::getline(std::cin, line)) {
      if (line == "list") {
        list();
      } else if (!line.starts_with("run ") || !run_command(line.substr(4))) {
        std::fprintf(stderr, "core_bench: expected `list` or `run ROUNDS NAME`, got `%s`\n",
                     line.c_str());
        return 2;
      }
      std::fflush(stdout);
    }
    return 0;
  }

 private:
  static constexpr const char* reading = "read ";

  void list() {
    const char* separator = "[";
    for (const auto& entry : texts_) {
      std::printf("%s\"%s%s\"", separator, reading, entry.first.c_str());
      separator = ",";
    }
    for (u32 index = 0; index < core_work::work_count; ++index)
      std::printf(",\"%s\"", name_of(index).c_str());
    std::printf("]\n");
  }

  bool run_command(const std::string& words) {
    char* rest = nullptr;
    const u32 rounds = static_cast<u32>(std::strtoul(words.c_str(), &rest, 10));
    if (rounds == 0 || *rest != ' ') return false;
    const std::string name(rest + 1);
    if (name.starts_with(reading)) {
      const auto text = texts_.find(name.substr(5));
      return text != texts_.end() && read(text->second, rounds);
    }
    for (u32 index = 0; index < core_work::work_count; ++index) {
      if (name == name_of(index)) return work(index, rounds);
    }
    return false;
  }

  bool read(const std::string& text, u32 rounds) {
    const double start = cpu_us();
    for (u32 i = 0; i < rounds; ++i) {
      if (!ion::validate(text, 256).ok()) return false;
    }
    report(rounds, start);
    return true;
  }

  bool work(u32 index, u32 rounds) {
    core_work::Work& it = work_of(index);
    const double start = cpu_us();
    for (u32 round = 0; round < rounds; ++round) {
      for (u32 phase = 0; phase < it.phases.size(); ++phase) {
        for (u32 i = 0; i < it.batch; ++i) it.run(phase, i);
      }
    }
    report(u64{rounds} * it.batch, start);
    return true;
  }

  static void report(u64 units, double start) {
    std::printf("{\"units\":%llu,\"cpu_us\":%.5f}\n", static_cast<unsigned long long>(units),
                (cpu_us() - start) / static_cast<double>(units));
  }

  core_work::Work& work_of(u32 index) {
    if (works_[index] == nullptr) works_[index] = core_work::make_work(index);
    return *works_[index];
  }

  /// A work of several phases has one name here: they are measured together.
  std::string name_of(u32 index) {
    const auto& phases = work_of(index).phases;
    if (phases[0] == "send frame alone") return "one send frame";
    return phases.size() == 1 ? phases[0] : phases[0] + ", " + phases[1];
  }

  const std::map<std::string, std::string>& texts_;
  std::unique_ptr<core_work::Work> works_[core_work::work_count];
};

}  // namespace core_driven
