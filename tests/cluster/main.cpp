// sidekick-cluster: several hubs and their engine, on virtual time. The same seed gives the same
// world on every machine.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "world.hpp"

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
    "  --go-on           report all findings\n"
    "\n"
    "Exit status: 0 no finding (or the expected one), 1 finding, 2 usage error.\n";

}  // namespace

int main(int argc, char** argv) {
  u64 seed = 1, seeds = 100;
  double seconds = 0;
  u32 steps = 3000;
  bool goes_on = false, is_verbose = false;
  const char* expected = nullptr;
  for (int i = 1; i < argc; ++i) {
    const Bytes name = argv[i];
    if (name == "--verbose") {
      is_verbose = true;
      continue;
    }
    if (name == "--go-on") {
      goes_on = true;
      continue;
    }
    if (name == "--help" || i + 1 == argc) {
      std::fputs(usage, name == "--help" ? stdout : stderr);
      return name == "--help" ? 0 : 2;
    }
    const char* value = argv[++i];
    if (name == "--seed")
      seed = std::strtoull(value, nullptr, 10);
    else if (name == "--seeds")
      seeds = std::strtoull(value, nullptr, 10);
    else if (name == "--seconds")
      seconds = std::strtod(value, nullptr);
    else if (name == "--steps")
      steps = static_cast<u32>(std::strtoul(value, nullptr, 10));
    else if (name == "--expect")
      expected = value;
    else
      return std::fputs(usage, stderr), 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::printf("first seed: %llu\n", static_cast<unsigned long long>(seed));
  u64 inputs = 0, done = 0, findings = 0, digest = 0;
  bool is_expected = false;
  while (seconds > 0 ? elapsed() < seconds : done < seeds) {
    World world(seed + done, steps);
    if (is_verbose) world.set_verbose();
    const std::optional<Failure> failure = world.run();
    inputs += world.inputs();
    digest = (digest ^ world.digest()) * 0x9E3779B97F4A7C15;
    ++done;
    if (!failure) continue;
    const char* checker = checker_names[static_cast<u8>(failure->checker)];
    if (expected != nullptr && std::strcmp(checker, expected) != 0) continue;
    ++findings;
    is_expected = expected != nullptr;
    std::printf("seed %llu failed at step %u: %s: %s\n",
                static_cast<unsigned long long>(seed + done - 1), failure->step, checker,
                failure->what.c_str());
    std::fflush(stdout);
    if (!goes_on) break;
  }
  std::printf("%llu seeds, %llu inputs, %llu findings, digest %016llx\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(inputs),
              static_cast<unsigned long long>(findings), static_cast<unsigned long long>(digest));
  std::fprintf(stderr, "%.2f M inputs/s\n", static_cast<double>(inputs) / 1e6 / elapsed());
  return expected != nullptr ? (is_expected ? 0 : 1) : findings != 0;
}
