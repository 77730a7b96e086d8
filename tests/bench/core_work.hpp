// The core's daily work, to be timed: natively by core_bench.cpp, in WASM by core_bench_wasm.cpp.
// This file has no clock.
//
// A work is a hub in a steady state and one to three kinds of inputs (phases) that lead from it
// back to it: `batch` inputs of the first phase, then as many of the second, and so on. So each
// phase can be timed alone, and any number of rounds leaves the hub in the same state.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sidekick/hub.hpp"

namespace core_work {

using namespace sidekick;

class Work {
 public:
  virtual ~Work() = default;
  /// Feeds input `index` (< batch) of the phase.
  virtual void run(u32 phase, u32 index) = 0;

  u32 batch = 64;
  std::vector<std::string> phases;  ///< the name of one input of each

 protected:
  Work() : hub(config()) {}

  static Config config() {
    Config config;
    config.secrets = {"benchmark-secret"};
    config.hash_seed = 0x0123456789abcdef;
    return config;
  }

  void handle(const Input& input) { hub.handle(now, input, actions); }
  void frame(u32 client, Bytes text) { handle(input::ClientFrame{client, text}); }
  void post(Bytes path, Bytes body) {
    handle(input::HttpRequest{1, static_cast<u32>(body.size()), "POST", path,
                              "Bearer benchmark-secret", body});
    for (const Action& action : actions) {
      if (action.tag == ActionTag::respond && action.respond.status != 200) trap();
    }
  }
  /// As long as a token of the npm server: a UUID.
  static std::string token(u32 number) {
    std::string digits = std::to_string(number);
    return "00000000-0000-4000-8000-" + std::string(12 - digits.size(), '0') + digits;
  }
  static std::string registration(u32 number) {
    return "{ \"token\": \"" + token(number) +
           R"(", "channel": "chat", "params": { "room": "lobby" }, "context": { "user": "ada" } })";
  }
  void open(u32 client, bool says_hello) {
    handle(input::ClientOpened{client});
    if (!says_hello) return;
    frame(client, "{ \"type\": \"listen\", \"id\": 1, \"resources\": [], \"hello\": \"" +
                      token(client) + "\" }");
  }
  void join(u32 client, bool says_hello = false) {
    open(client, says_hello);
    post("/connection", registration(client));
    frame(client, "{ \"type\": \"subscribe\", \"token\": \"" + token(client) + "\" }");
  }

  Hub hub;
  Actions actions;
  Millis now = 1'700'000'000'000;
};

/// A client's message, about 150 bytes, on its way to the app server, and the app server's 204.
class Send : public Work {
 public:
  Send() {
    phases = {"send frame alone", "its answer (204) alone"};
    forwards.resize(batch);
    for (u32 client = 0; client < batch; ++client) {
      join(client);
      frames.push_back("{ \"type\": \"send\", \"token\": \"" + token(client) +
                       R"(", "channel": "chat", "params": { "room": "lobby" }, )"
                       R"("data": { "text": "hello, everybody", "at": 1738000000000 } })");
    }
  }
  void run(u32 phase, u32 index) override {
    if (phase == 0) {
      frame(index, frames[index]);
      if (actions.size() == 0 || actions[0].tag != ActionTag::forward) trap();
      forwards[index] = actions[0].forward.forward;
    } else {
      handle(input::ForwardDone{forwards[index], 204, {}});
    }
  }

 private:
  std::vector<std::string> frames;
  std::vector<ForwardId> forwards;
};

class Publish : public Work {
 public:
  Publish(u32 subscribers, Bytes name, bool says_hello = false) : count(subscribers) {
    phases = {std::string(name)};
    for (u32 client = 0; client < subscribers; ++client) join(client, says_hello);
    body = R"({ "channel": "chat", "params": { "room": "lobby" }, )"
           R"("data": { "text": ")" +
           std::string(150, 'x') + "\" } }";
  }
  void run(u32, u32) override {
    post("/message", body);
    if (actions[0].send.clients.size() != count) trap();
  }

 private:
  u32 count;
  std::string body;
};

/// POST /resources with one resource that one client listens to, among 50,000.
class Invalidate : public Work {
 public:
  explicit Invalidate(Bytes name, bool says_hello = false) {
    phases = {std::string(name)};
    batch = 5000;
    for (u32 client = 0; client < batch; ++client) {
      open(client, says_hello);
      std::string list;
      for (u32 i = 0; i < 10; ++i)
        list += (i == 0 ? "\"todo/" : ", \"todo/") + std::to_string(client * 10 + i) + "\"";
      frame(client, "{ \"type\": \"listen\", \"resources\": [" + list + "] }");
      bodies.push_back("{ \"resources\": [\"todo/" + std::to_string(client * 10 + client % 10) +
                       "\"] }");
    }
  }
  void run(u32, u32 index) override {
    post("/resources", bodies[index]);
    if (actions[0].tag != ActionTag::send) trap();
  }

 private:
  std::vector<std::string> bodies;
};

/// Each round registers a token and, since time advances, another one expires: 5,000 at any time.
class Register : public Work {
 public:
  Register() {
    phases = {"POST /connection, and the end of a token"};
    batch = 10000;
    for (u32 number = 0; number < batch; ++number) bodies.push_back(registration(number));
  }
  void run(u32, u32 index) override {
    now += hub.config().token_ttl_ms / 5000;
    post("/connection", bodies[index]);
  }

 private:
  std::vector<std::string> bodies;
};

class Listen : public Work {
 public:
  Listen() {
    phases = {"listen to 10 resources", "unlisten to 10 resources"};
    for (u32 client = 0; client < batch; ++client) {
      handle(input::ClientOpened{client});
      std::string list;
      for (u32 i = 0; i < 10; ++i)
        list += (i == 0 ? "\"todo/" : ", \"todo/") + std::to_string(client * 5 + i) + "\"";
      for (const char* type : {"listen", "unlisten"}) {
        frames.push_back(std::string("{ \"type\": \"") + type + "\", \"resources\": [" + list +
                         "] }");
      }
    }
  }
  void run(u32 phase, u32 index) override {
    frame(index, frames[index * 2 + phase]);
    if (actions.size() < 2) trap();
  }

 private:
  std::vector<std::string> frames;
};

inline constexpr u32 work_count = 10;

inline std::unique_ptr<Work> make_work(u32 index) {
  switch (index) {
    case 0:
      return std::make_unique<Send>();
    case 1:
      return std::make_unique<Publish>(1, "one publish");
    case 2:
      return std::make_unique<Publish>(100, "one publish to 100");
    case 3:
      return std::make_unique<Publish>(5000, "one publish to 5,000");
    case 4:
      return std::make_unique<Invalidate>("POST /resources, 1 of 5,000 x 10");
    case 5:
      return std::make_unique<Register>();
    case 6:
      return std::make_unique<Listen>();
    case 7:
      return std::make_unique<Publish>(1, "one publish, hello", true);
    case 8:
      return std::make_unique<Publish>(100, "one publish to 100, hello", true);
    case 9:
      return std::make_unique<Invalidate>("POST /resources, 1 of 5,000 x 10, hello", true);
    default:
      trap();
  }
}

}  // namespace core_work
