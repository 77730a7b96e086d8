// sidekick-replay-wasmtime MODULE.wasm TRACE...: replays traces on a module in wasmtime, through its C API.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>

#include "replay.hpp"
#include "sidekick_module.hpp"

namespace {

using namespace sidekick;

class WasmtimeHub final : public trace::ReplayedHub {
 public:
  explicit WasmtimeHub(const std::vector<std::uint8_t>& wasm) : engine_(SidekickModule::make_engine()), module_(compiled(engine_, wasm)) {}

  void open(const std::string& config_text, const Config&) override {
    hub_.emplace(engine_, module_, config_text);
    hub_->record(true);
  }

  void append_lines(std::string& out, Millis now, const Input& input) override {
    try {
      hub_->handle(now, input);
      const std::string_view lines = hub_->recorded();
      out += lines.substr(0, lines.find("{\"hash\":{"));  // the trace says where hashes are compared
    } catch (const SidekickTrap& trap) {
      out += std::string("(the module trapped: ") + trap.what() + ")\n";  // a difference, unless the recording hub trapped as well
    }
  }

  std::string hash_line() override {
    try {
      return std::string(hub_->hash());
    } catch (const SidekickTrap& trap) {
      return std::string("(the module trapped: ") + trap.what() + ")\n";
    }
  }

  std::string state() override {
    try {
      for (const Action& action : hub_->handle(0, trace::health_request())) {
        if (action.tag == ActionTag::respond) return std::string(action.respond.body);
      }
    } catch (const SidekickTrap&) {
    }
    return "silent";
  }

 private:
  static wasmtime::Module compiled(wasmtime::Engine& engine, const std::vector<std::uint8_t>& wasm) {
    auto module = wasmtime::Module::compile(engine, const_cast<std::vector<std::uint8_t>&>(wasm));
    if (!module) throw std::runtime_error(module.err().message());
    return module.ok();
  }

  wasmtime::Engine engine_;
  wasmtime::Module module_;
  std::optional<SidekickModule> hub_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: sidekick-replay-wasmtime MODULE.wasm TRACE...\n");
    return 2;
  }
  try {
    std::ifstream file(argv[1], std::ios::binary);
    WasmtimeHub hub({std::istreambuf_iterator<char>(file), {}});
    return trace::replay_files(argc - 2, argv + 2, hub);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
    return 2;
  }
}
