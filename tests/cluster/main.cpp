// sidekick-cluster: several hubs and their engine, on virtual time. The same seed gives the same
// world on every machine.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shrink.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::cluster;

constexpr char usage[] =
    "Usage: sidekick-cluster [--seed N] [--seeds N] [--seconds T] [--steps N] [--expect CHECKER]\n"
    "\n"
    "  --seed N          the first seed (1)\n"
    "  --seeds N         number of seeds (100)\n"
    "  --seconds T       as many seeds as fit into T seconds, instead\n"
    "  --steps N         steps of each world (3000)\n"
    "  --expect CHECKER  succeed only if this checker reports a finding\n"
    "  --verbose         print each input and action\n"
    "  --go-on           continue after a finding, and report all\n"
    "  --shrink          print each finding with as few operations as possible\n"
    "\n"
    "Exit status: 0 no finding (or the expected one), 1 finding, 2 usage error.\n";

struct Options {
  u64 seed = 1, seeds = 100;
  double seconds = 0;
  u32 steps = 3000;
  bool goes_on = false, is_verbose = false, shrinks = false;
  const char* expected = nullptr;
};

bool read_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const Bytes name = argv[i];
    if (name == "--verbose")
      options.is_verbose = true;
    else if (name == "--go-on")
      options.goes_on = true;
    else if (name == "--shrink")
      options.shrinks = true;
    else if (i + 1 == argc)
      return false;
    else if (name == "--seed")
      options.seed = std::strtoull(argv[++i], nullptr, 10);
    else if (name == "--seeds")
      options.seeds = std::strtoull(argv[++i], nullptr, 10);
    else if (name == "--seconds")
      options.seconds = std::strtod(argv[++i], nullptr);
    else if (name == "--steps")
      options.steps = static_cast<u32>(std::strtoul(argv[++i], nullptr, 10));
    else if (name == "--expect")
      options.expected = argv[++i];
    else
      return false;
  }
  return true;
}

const char* name_of(const Failure& failure) {
  return checker_names[static_cast<u8>(failure.checker)];
}

void print_shrunk(u64 seed, u32 steps, const World& found, Checker checker) {
  const Shrunk shrunk = shrink(seed, steps, checker, found.ops());
  std::printf("shrunk from %zu to %zu operations in %u trials:\n", found.ops().size(),
              shrunk.ops.size(), shrunk.trials);
  World world(seed, steps, &shrunk.ops);
  world.set_verbose();
  const std::optional<Failure> failure = world.run();
  if (failure) std::printf("it fails: %s: %s\n", name_of(*failure), failure->what.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!read_options(argc, argv, options)) {
    const bool is_help = argc > 1 && std::strcmp(argv[1], "--help") == 0;
    std::fputs(usage, is_help ? stdout : stderr);
    return is_help ? 0 : 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::printf("first seed: %llu\n", static_cast<unsigned long long>(options.seed));
  u64 inputs = 0, done = 0, findings = 0, digest = 0;
  while (options.seconds > 0 ? elapsed() < options.seconds : done < options.seeds) {
    const u64 seed = options.seed + done;
    World world(seed, options.steps);
    if (options.is_verbose) world.set_verbose();
    const std::optional<Failure> failure = world.run();
    inputs += world.inputs();
    digest = (digest ^ world.digest()) * 0x9E3779B97F4A7C15;
    ++done;
    if (!failure) continue;
    if (options.expected != nullptr && std::strcmp(name_of(*failure), options.expected) != 0)
      continue;
    ++findings;
    std::printf("seed %llu failed at step %u: %s: %s\n", static_cast<unsigned long long>(seed),
                failure->step, name_of(*failure), failure->what.c_str());
    std::fflush(stdout);
    if (options.shrinks) print_shrunk(seed, options.steps, world, failure->checker);
    if (!options.goes_on) break;
  }
  std::printf("%llu seeds, %llu inputs, %llu findings, digest %016llx\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(inputs),
              static_cast<unsigned long long>(findings), static_cast<unsigned long long>(digest));
  std::fprintf(stderr, "%.2f M inputs/s\n", static_cast<double>(inputs) / 1e6 / elapsed());
  return (findings != 0) == (options.expected != nullptr) ? 0 : 1;
}
