// The sandbox's cost per input, without sockets: the same calls on the linked-in core and on the
// module in wasmtime, in turns. One line per input and round, in ns per call: runtime_bench
// [MODULE].
#include <chrono>
#include <cstdio>
#include <string>

#include "log.hpp"
#include "runtime/runtime.hpp"
#include "runtime/wasmtime_runtime.hpp"

using namespace sidekick;
using namespace sidekick::host;

namespace {

constexpr unsigned rounds = 5;
constexpr Millis now = 1'000'000;
/// The compiler must not remove a measured result.
std::size_t seen = 0;

template <class Call>
double ns_per_call(u32 count, Call call) {
  const auto began = std::chrono::steady_clock::now();
  for (u32 i = 0; i < count; ++i) seen += call(i);
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began)
             .count() /
         count;
}

input::HttpRequest post(u32 request, Bytes path, Bytes body) {
  return {request, static_cast<u32>(body.size()), "POST", path, "Bearer x", body, ""};
}

struct Runtimes {
  std::unique_ptr<Runtime> native, wasmtime;

  template <class Call>
  void compare(const char* name, u32 count, Call call) {
    const double linked = ns_per_call(count, [&](u32 i) { return call(*native, i); });
    const double sandboxed = ns_per_call(count, [&](u32 i) { return call(*wasmtime, i); });
    std::printf("%-32s native %6.0f ns   wasmtime %6.0f ns   %+6.0f ns\n", name, linked, sandboxed,
                sandboxed - linked);
  }
};

}  // namespace

int main(int count, char** arguments) {
  Log log(LogLevel::error);
  WasmtimeOptions options;
  if (count > 1) options.module_file = arguments[1];
  const char config[] = R"({"secrets":["x"],"hash_seed":"0123456789abcdef"})";
  Runtimes runtimes{native_runtime()(config), wasmtime_runtime(options, log)(config)};
  for (unsigned round = 0; round < rounds; ++round) {
    runtimes.compare("nothing (timer_fired)", 100'000, [](Runtime& runtime, u32) {
      return runtime.handle(now, input::TimerFired{}).size();
    });
    runtimes.compare("what to do with a request", 100'000, [](Runtime& runtime, u32) {
      return runtime.admit(post(0, "/connection", "")).body_bytes_max;
    });
    runtimes.compare("POST /resources", 100'000, [](Runtime& runtime, u32 i) {
      return runtime.handle(now, post(i + 1, "/resources", R"({ "resources": ["todo/1-1"] })"))
          .size();
    });
    runtimes.compare("POST /connection", 10'000, [&](Runtime& runtime, u32 i) {
      char body[200];
      const int size =
          std::snprintf(body, sizeof body,
                        R"({ "token": "00000000-0000-4000-8000-%04u%08u", "channel": "bench", )"
                        R"("params": { "room": "0" }, "context": { "user": "u-1234" } })",
                        round, i);
      return runtime
          .handle(now, post(i + 1, "/connection", Bytes(body, static_cast<std::size_t>(size))))
          .size();
    });
  }
  return seen == 0;
}
