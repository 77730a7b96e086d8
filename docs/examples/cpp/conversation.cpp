// conversation SIDEKICK.wasm: one conversation with a Sidekick, with every socket and request
// simulated. A real host has events instead of this list, and performs the actions instead of
// printing them.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "sidekick_module.hpp"

namespace {

using namespace sidekick;

void perform(const Action& action) {
  const auto size = [](Bytes bytes) { return static_cast<int>(bytes.size()); };
  switch (action.tag) {
    case ActionTag::send:
      for (const ClientId client : action.send.clients)
        std::printf("to client %u: %.*s\n", client, size(action.send.text),
                    action.send.text.data());
      break;
    case ActionTag::respond:
      std::printf("answer to request %u: %u %.*s\n", action.respond.request, action.respond.status,
                  size(action.respond.body), action.respond.body.data());
      break;
    case ActionTag::forward:
      std::printf("to the app server, as forward %llu: %.*s\n",
                  static_cast<unsigned long long>(action.forward.forward),
                  size(action.forward.body), action.forward.body.data());
      break;
    case ActionTag::close:
      std::printf("close client %u: %u %.*s\n", action.close.client, action.close.code,
                  size(action.close.reason), action.close.reason.data());
      break;
    case ActionTag::put_token:  // records, for a host that must survive a restart
    case ActionTag::touch_token:
    case ActionTag::erase_token:
    case ActionTag::attach_client:
    case ActionTag::set_timer:       // one timer, for a host with a clock
    case ActionTag::cancel_forward:  // for a host with connections
    case ActionTag::engine_run:      // for a host with an engine
    case ActionTag::engine_join:
    case ActionTag::engine_leave:
      break;
  }
}

input::HttpRequest post(RequestId request, Bytes path, Bytes body) {
  return {request, static_cast<u32>(body.size()), "POST", path, "Bearer the-secret", body, ""};
}

/// What a browser sends to open a socket, as far as the hub wants to see it.
input::HttpRequest upgrade(Bytes path) {
  return {0,
          0,
          "GET",
          path,
          "",
          "",
          "upgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\n"
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n"};
}

void talk(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string wasm((std::istreambuf_iterator<char>(file)), {});
  const auto engine = SidekickModule::make_engine();
  const auto module = SidekickModule::compile(*engine, wasm);
  SidekickModule hub(*engine, *module,
                     R"({"secrets": ["the-secret"], "hash_seed": "0123456789abcdef"})");

  // A real host asks at every request, and accepts a socket only after this answer.
  if (hub.admit(upgrade("/socket")).kind != VerdictKind::socket)
    throw std::runtime_error("expected that the hub accepts a socket");

  Millis now_ms = 1'790'000'000'000;
  const Input inputs[] = {
      input::Begin{1},  // a real host draws this number at random, and then restores what it stored
      input::Restored{},
      post(1, "/connection",
           R"({"token":"t1","channel":"chat","params":{"room":"7"},"context":{"user":"ada"}})"),
      input::ClientOpened{1},
      input::ClientFrame{1, R"({"type":"subscribe","token":"t1"})", 1},
      input::ClientFrame{1, R"({"type":"listen","resources":["todo/1"]})", 1},
      post(2, "/message", R"({"channel":"chat","params":{"room":"7"},"data":"hello"})"),
      post(3, "/resources", R"({"resources":["todo/1","todo/2"]})"),
      input::ClientFrame{
          1, R"({"type":"send","token":"t1","channel":"chat","params":{"room":"7"},"data":"hi"})",
          1},
      input::ForwardDone{2, 204, "", static_cast<u32>(Outcome::answered)},
      input::ClientFrame{1, R"({"type":"subscribe","token":"stolen"})", 1},
      input::ClientClosed{1},
  };
  for (const Input& input : inputs) {
    for (const Action& action : hub.handle(now_ms++, input)) perform(action);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::runtime_error("usage: conversation SIDEKICK.wasm");
    talk(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conversation: %s\n", error.what());
    return 1;
  }
}
