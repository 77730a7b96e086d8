#include "testing.hpp"

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace sidekick::host {

namespace {

bool has_fault(std::string_view name) {
  const char* faults = std::getenv("SIDEKICK_TEST_FAULTS");
  return faults != nullptr && std::string_view(faults).find(name) != std::string_view::npos;
}

unsigned number_for_testing(const char* variable, unsigned otherwise) {
  const char* number = std::getenv(variable);
  return number == nullptr ? otherwise : static_cast<unsigned>(std::atoi(number));
}

/// Traps on any input that contains the word `trap!`, also if it is only asked about, and, with the
/// fault `restore`, on the first restored token. With the fault `late`, gives each answer in the
/// call after its request's.
class TrappingRuntime final : public Runtime {
  template <class Call>
  auto watched(Call call) {
    try {
      return call();
    } catch (const Trap&) {
      if (!std::exchange(has_trapped_, true)) ++trapped_hubs;
      throw;
    }
  }

 public:
  explicit TrappingRuntime(std::unique_ptr<Runtime> inner) : inner_(std::move(inner)) {}
  ~TrappingRuntime() override { trapped_hubs -= has_trapped_; }

  /// Those that live.
  static inline unsigned trapped_hubs = 0;

  std::span<const Action> handle(Millis now, const Input& input) override {
    return watched([&] { return handle_one(now, input); });
  }
  Verdict admit(const input::HttpRequest& request) override {
    return watched([&] {
      if (request.path.find("trap!") != Bytes::npos) throw Trap("trapped for a test");
      return inner_->admit(request);
    });
  }
  Limits limits() override { return inner_->limits(); }
  Bytes describe(u32 format) override { return inner_->describe(format); }
  void record(u32 format) override { inner_->record(format); }
  Bytes recorded() override { return inner_->recorded(); }
  Bytes record_input(Millis now, const Input& input) override {
    return inner_->record_input(now, input);
  }
  Bytes hash() override { return inner_->hash(); }
  Bytes metrics() override { return inner_->metrics(); }
  std::size_t memory_bytes() override { return inner_->memory_bytes(); }

 private:
  struct HeldAnswer {
    action::Respond action;
    std::string type, header, body;
  };

  std::span<const Action> handle_one(Millis now, const Input& input) {
    if (is_fatal(input)) {
      if (has_fault("real"))
        return inner_->handle(
            now, input::ClientOpened{
                     open_client_});  // a host must never do this: the module itself traps
      throw Trap("trapped for a test");
    }
    if (input.tag == InputTag::client_opened) open_client_ = input.client_opened.client;
    if (input.tag == InputTag::restore_client) open_client_ = input.restore_client.client;
    const auto actions = inner_->handle(now, input);
    return has_fault("late") ? with_late_answers(actions) : actions;
  }

  std::span<const Action> with_late_answers(std::span<const Action> actions) {
    actions_.clear();
    told_ = std::exchange(held_, {});
    for (const HeldAnswer& held : told_) {
      action::Respond answer = held.action;
      answer.content_type = held.type;
      answer.header = held.header;
      answer.body = held.body;
      actions_.push_back(answer);
    }
    for (const Action& action : actions) {
      if (action.tag != ActionTag::respond) {
        actions_.push_back(action);
        continue;
      }
      const action::Respond& it = action.respond;
      held_.push_back(
          {it, std::string(it.content_type), std::string(it.header), std::string(it.body)});
    }
    return actions_;
  }

  static bool is_fatal(const Input& input) {
    constexpr std::string_view word = "trap!";
    switch (input.tag) {
      case InputTag::client_frame:
        return input.client_frame.bytes.find(word) != Bytes::npos;
      case InputTag::http_request:
        return input.http_request.body.find(word) != Bytes::npos;
      case InputTag::restore_token:
        return has_fault("restore");
      default:
        return false;
    }
  }

  std::unique_ptr<Runtime> inner_;
  bool has_trapped_ = false;
  ClientId open_client_ = 0;
  std::vector<HeldAnswer> told_, held_;
  std::vector<Action> actions_;
};

}  // namespace

/// Fails while a hub that trapped lives, or while there is a file with the name in
/// SIDEKICK_TEST_NO_HUB.
CreateRuntime for_testing(CreateRuntime create) {
  return [create](Bytes config) {
    if (TrappingRuntime::trapped_hubs > 0) throw std::runtime_error("a hub that trapped lives");
    const char* file = std::getenv("SIDEKICK_TEST_NO_HUB");
    if (file != nullptr && access(file, F_OK) == 0)
      throw std::runtime_error("no room for a hub, for a test");
    return std::make_unique<TrappingRuntime>(create(config));
  };
}

/// With the fault `accept`, fails every second connection.
std::function<void()> accepted_for_testing() {
  return [is_faulty = has_fault("accept"), count = 0u]() mutable {
    if (is_faulty && ++count % 2 == 0) throw std::bad_alloc();
  };
}

unsigned ping_seconds_for_testing(unsigned otherwise) {
  return number_for_testing("SIDEKICK_TEST_PING_SECONDS", otherwise);
}

unsigned server_links_max_for_testing(unsigned otherwise) {
  return number_for_testing("SIDEKICK_TEST_SERVER_LINKS", otherwise);
}

}  // namespace sidekick::host

/// Replaces the system's resolver: `slow.test` takes a minute, `two.test` has two addresses, and
/// names ending in `.long.test` are this machine's, however long they are.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints,
                           addrinfo** found) {
  using Lookup = int(const char*, const char*, const addrinfo*, addrinfo**);
  static Lookup* const system = reinterpret_cast<Lookup*>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string_view text = name == nullptr ? "" : name;
  if (text == "slow.test") sleep(60);
  if (text.ends_with(".long.test")) name = "127.0.0.1";
  if (text != "two.test") return system(name, service, hints, found);
  addrinfo* second = nullptr;
  if (const int error = system("127.0.0.1", service, hints, &second)) return error;
  if (const int error = system("127.0.0.2", service, hints, found)) return error;
  addrinfo* last = *found;
  while (last->ai_next != nullptr) last = last->ai_next;
  last->ai_next = second;
  return 0;
}

/// With the fault `slow-network`, the system takes little of what the server sends before the peer
/// has got it. Accepted sockets inherit that.
extern "C" int listen(int socket, int waiting_max) noexcept {
  using Listen = int(int, int);
  static Listen* const system = reinterpret_cast<Listen*>(dlsym(RTLD_NEXT, "listen"));
  constexpr int bytes = 16 * 1024;
  if (sidekick::host::has_fault("slow-network"))
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return system(socket, waiting_max);
}
