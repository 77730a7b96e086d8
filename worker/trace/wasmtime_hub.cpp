#include "wasmtime_hub.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "errors.hpp"
#include "runtime/module_runtime.hpp"

namespace sidekick::trace {

namespace {

std::string in_brackets(const std::string& text) { return "(" + text + ")\n"; }

/// wasmtime's errors have several lines.
std::string in_one_line(const std::exception& error) {
  std::string line;
  for (const char c : std::string_view(error.what())) {
    const bool is_space = c == ' ' || c == '\n' || c == '\t';
    if (!is_space) line += c;
    if (is_space && !line.empty() && line.back() != ' ') line += ' ';
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

class WasmtimeHub final : public ReplayedHub {
 public:
  /// Throws if it is not a Sidekick module: it must create a hub.
  explicit WasmtimeHub(std::string_view wasm)
      : engine_(host::new_wasm_engine()), module_(host::compile_module(*engine_, wasm)) {
    host::module_runtime(*engine_, *module_, R"({"hash_seed":"0000000000000000","secrets":["x"]})");
  }

  /// Throws nothing: the caller may be compiled without exceptions.
  void open(const std::string& config_text, const Config&, u32 format) override {
    hub_.reset();
    wrong_.clear();
    try {
      hub_ = host::module_runtime(*engine_, *module_, config_text);
      hub_->record(format);
    } catch (const std::exception& error) {
      hub_.reset();
      wrong_ = in_one_line(error);
    }
  }

  void append_lines(std::string& out, Millis now, const Input& input) override {
    if (!hub_) {
      out += in_brackets(wrong_);
      return;
    }
    try {
      hub_->handle(now, input);
      const Bytes lines = hub_->recorded();
      out +=
          // the trace determines where hashes are compared
          lines.substr(0, lines.find("{\"hash\":{"));
    } catch (const host::Trap& trap) {
      wrong_ = in_one_line(trap);
      // A difference, unless the recording hub trapped as well.
      out += in_brackets("the module trapped: " + wrong_);
    }
  }

  std::string hash_line() override {
    if (!hub_) return in_brackets(wrong_);
    try {
      return std::string(hub_->hash());
    } catch (const host::Trap& trap) {
      wrong_ = in_one_line(trap);
      return in_brackets("the module trapped: " + wrong_);
    }
  }

  std::string wrong() const override { return wrong_; }

  std::string metrics() override {
    if (!hub_) return in_brackets(wrong_);
    try {
      return std::string(hub_->metrics());
    } catch (const host::Trap& trap) {
      return in_brackets("the module trapped: " + in_one_line(trap));
    } catch (const host::ModuleError& error) {
      return in_brackets(in_one_line(error));  // of an older version
    }
  }

  std::string state() override {
    if (!hub_) return wrong_;
    try {
      for (const Action& action : hub_->handle(0, health_request())) {
        if (action.tag == ActionTag::respond) return std::string(action.respond.body);
      }
    } catch (const host::Trap&) {
    }
    return "silent";
  }

 private:
  host::WasmEnginePtr engine_;
  host::ModulePtr module_;
  std::unique_ptr<host::Runtime> hub_;
  std::string wrong_;  // why there is no hub
};

}  // namespace

std::unique_ptr<ReplayedHub> make_wasmtime_hub(const std::string& path, std::string& error) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    error = std::string("cannot be opened: ") + std::strerror(errno);
    return nullptr;
  }
  try {
    host::load_wasmtime();
    return std::make_unique<WasmtimeHub>(std::string(std::istreambuf_iterator<char>(file), {}));
  } catch (const host::WasmtimeMissing& missing) {
    error = std::string("needs wasmtime to run: ") + missing.what();
    return nullptr;
  } catch (const std::exception& wrong) {
    error = std::string("expected a WebAssembly module of Sidekick: ") + in_one_line(wrong);
    return nullptr;
  }
}

}  // namespace sidekick::trace
