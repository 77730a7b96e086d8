// The core linked in: to measure the cost of the sandbox, and to run the whole server under
// sanitizers. A trap ends the process.
#include "errors.hpp"
#include "runtime/runtime.hpp"

namespace sidekick::host {

namespace {

class NativeRuntime final : public Runtime {
 public:
  explicit NativeRuntime(Config config) : hub_(std::move(config)) {}

  std::span<const Action> handle(Millis now, const Input& input) override {
    hub_.handle(now, input, actions_);
    latest_at_ = now;
    latest_ = input;
    return {actions_.begin(), actions_.end()};
  }

  Verdict admit(const input::HttpRequest& request) override { return hub_.admit(request); }
  Limits limits() override {
    return {
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason) hub_.config().name,
#include "sidekick/limits.def"
    };
  }

  Bytes describe(u32 format) override {
    recorded_.clear();
    trace::append_header(recorded_, hub_.config(), format);
    return recorded_;
  }
  void record(u32 format) override {
    if (format != 0 && format != format_) recording_ = trace::Recording(format);
    format_ = format;
  }
  Bytes recorded() override {
    recorded_.clear();
    if (format_ == 0) return recorded_;
    recording_.append(recorded_, hub_, latest_at_, latest_, actions_);
    if (recording_.take_due_hash(hub_)) recording_.append_hash(recorded_, hub_);
    return recorded_;
  }
  Bytes record_input(Millis now, const Input& input) override {
    recorded_.clear();
    trace::append_input(recorded_, hub_, now, input);
    return recorded_;
  }
  Bytes metrics() override {
    recorded_.clear();
    hub_.append_metrics(recorded_);
    return recorded_;
  }
  std::size_t memory_bytes() override { return 0; }
  Bytes hash() override {
    recorded_.clear();
    recording_.append_hash(recorded_, hub_);
    return recorded_;
  }

 private:
  Hub hub_;
  Actions actions_;
  u32 format_ = 0;  // of the recording; 0: off
  trace::Recording recording_;
  Millis latest_at_ = 0;
  Input latest_ = input::TimerFired{};  // the caller owns the data it points to
  std::string recorded_;
};

}  // namespace

CreateRuntime native_runtime() {
  return [](Bytes text) -> std::unique_ptr<Runtime> {
    Config config;
    const std::string wrong = decode_config(text, config);
    if (!wrong.empty()) throw ConfigError(wrong);
    return std::make_unique<NativeRuntime>(std::move(config));
  };
}

}  // namespace sidekick::host
