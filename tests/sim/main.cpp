// sidekick-sim: whole worlds on virtual time. See `--help` and tests/sim/README.md. The same seed
// gives the same bytes on stdout on every run; machine-dependent output (the speed) goes to stderr.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>

#include "shrink.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::sim;
using Clock = std::chrono::steady_clock;

constexpr char usage[] =
    "Usage: sidekick-sim [--seed S] [--seeds N] [--seconds T] [--steps N] [--engine N] "
    "[--expect CHECKER] [--canary] [--no-shrink] [--out DIR]\n"
    "\n"
    "  --seed S          the first seed: a number, or any text such as a commit hash (1)\n"
    "  --seeds N         number of seeds (100)\n"
    "  --seconds T       as many seeds as fit into T seconds, instead\n"
    "  --steps N         steps of each world, instead of the number the seed gives\n"
    "  --engine N        run a second hub that shares an engine of N shards; it must do the same\n"
    "  --canary          the simulated host sometimes forgets rows; must cause a finding\n"
    "  --expect CHECKER  succeed only if this checker reports a finding\n"
    "  --no-shrink       report a failing seed without shrinking it\n"
    "  --out DIR         directory for the trace of a failing seed (.)\n"
    "  --verbose         print each world\n"
    "\n"
    "Exit status: 0 no finding (or the expected one), 1 finding, 2 usage error.\n";

struct Options {
  u64 seed = 1;
  u64 seeds = 100;
  double seconds = 0;
  u32 steps = 0;
  u32 engine_shards = 0;
  bool is_canary = false;
  bool shrinks = true;
  bool is_verbose = false;
  const char* expected = nullptr;
  const char* out = ".";
};

/// A u64 is taken as a number, so that every printed seed can be passed back; anything else is
/// hashed (FNV-1a).
u64 seed_of(Bytes text) {
  u64 number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  u64 hash = 0xcbf29ce484222325;
  for (const char byte : text) hash = (hash ^ static_cast<u8>(byte)) * 0x100000001b3;
  return hash;
}

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const Bytes name = argv[i];
    if (name == "--canary") {
      options.is_canary = true;
    } else if (name == "--no-shrink") {
      options.shrinks = false;
    } else if (name == "--verbose") {
      options.is_verbose = true;
    } else if (i + 1 == argc) {
      return false;
    } else if (name == "--seed") {
      options.seed = seed_of(argv[++i]);
    } else if (name == "--seeds") {
      options.seeds = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--seconds") {
      options.seconds = std::strtod(argv[++i], nullptr);
    } else if (name == "--steps") {
      options.steps = static_cast<u32>(std::strtoul(argv[++i], nullptr, 10));
    } else if (name == "--engine") {
      options.engine_shards = static_cast<u32>(std::strtoul(argv[++i], nullptr, 10));
    } else if (name == "--expect") {
      options.expected = argv[++i];
    } else if (name == "--out") {
      options.out = argv[++i];
    } else {
      return false;
    }
  }
  return true;
}

void report(const Options& options, const Story& story) {
  const Failure& failure = *story.failure;
  const auto name = [](Checker checker) { return checker_names[static_cast<u8>(checker)]; };
  std::printf("seed %llu failed at step %u of: %s\n",
              static_cast<unsigned long long>(story.swarm.seed), failure.step,
              story.swarm.describe().c_str());
  std::printf("  checker:  %s: %s\n  expected: %s\n  actual:   %s\n", name(failure.checker),
              checker_promises[static_cast<u8>(failure.checker)], failure.expected.c_str(),
              failure.came.c_str());
  if (!options.shrinks) return;
  std::fflush(stdout);
  u32 told = 0;
  const std::vector<Op> ops = shrink(story, options.is_canary, told);
  std::string trace;
  const std::optional<Failure> last = retell(story, ops, options.is_canary, &trace);
  const std::string path = compose(
      {options.out, "/sim-", Digits(story.swarm.seed), "-", name(failure.checker), ".jsonl"});
  const bool is_written = (std::ofstream(path, std::ios::binary) << trace << std::flush).good();
  std::printf("shrunk to %zu steps in %u trials; the trace%s: %s\n", ops.size(), told,
              is_written ? "" : " could not be written", path.c_str());
  if (last)
    std::printf("  expected: %s\n  actual:   %s\n", last->expected.c_str(), last->came.c_str());
  constexpr std::size_t shown_max = 40;
  for (const Op& op : std::span(ops).last(std::min(ops.size(), shown_max))) {
    const bool speaks = op.kind == OpKind::frame || op.kind == OpKind::http;
    std::printf("  %llu %s%s%s client %u token %u channel %u serial %u%s\n",
                static_cast<unsigned long long>(op.now), op_names[static_cast<u8>(op.kind)],
                speaks ? " " : "", speaks ? verb_names[static_cast<u8>(op.verb)] : "", op.client,
                op.token, op.scope, op.serial, op.cut != no_cut ? " (the host dies here)" : "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    std::fputs(usage, argc > 1 && std::strcmp(argv[1], "--help") == 0 ? stdout : stderr);
    return argc > 1 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  std::printf("first seed: %llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  const Clock::time_point start = Clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double told_at = 0;
  u64 inputs = 0;
  u64 digest = 0;
  u64 seeds = 0;
  u64 others = 0;
  int status = options.expected == nullptr ? 0 : 1;
  for (; options.seconds > 0 ? elapsed() < options.seconds : seeds < options.seeds;) {
    Swarm swarm = draw_swarm(options.seed + seeds, options.steps);
    if (options.engine_shards != 0) share(swarm, options.engine_shards);
    Story story(swarm);
    if (options.is_verbose)
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(story.swarm.seed),
                  story.swarm.describe().c_str());
    story.run(options.is_canary);
    ++seeds;
    inputs += story.inputs;
    digest = (digest ^ story.digest) * 0x9E3779B97F4A7C15;
    if (elapsed() > told_at + 2) {
      told_at = elapsed();
      std::fprintf(stderr, "%8.0f s  %llu seeds  %.1f M inputs  %.2f M inputs/s\n", told_at,
                   static_cast<unsigned long long>(seeds), static_cast<double>(inputs) / 1e6,
                   static_cast<double>(inputs) / 1e6 / told_at);
    }
    if (!story.failure) continue;
    const Bytes checker = checker_names[static_cast<u8>(story.failure->checker)];
    if (options.expected != nullptr && checker != options.expected) {
      ++others;
      continue;
    }
    report(options, story);
    status = options.expected != nullptr ? 0 : 1;
    break;
  }
  if (options.expected != nullptr) {
    std::printf("%s %s after %llu seeds; %llu findings of other checkers before\n",
                options.expected, status == 0 ? "reports a finding" : "reports nothing",
                static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(others));
  }
  std::printf("%llu seeds, %llu inputs, digest %016llx\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(inputs), static_cast<unsigned long long>(digest));
  std::fprintf(stderr, "%.2f M inputs/s\n", static_cast<double>(inputs) / 1e6 / elapsed());
  return status;
}
