// The native session between a real hub and surroundings that a test controls: what is stored
// before what is sent, what a failing storage takes back, and what a trap leaves behind.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "session.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <utility>

#include "errors.hpp"

namespace sidekick::host {

namespace {

using Lines = std::vector<std::string>;

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : ", ") + line;
  return text;
}

/// The native hub, which shows its inputs, traps where a test says, and counts those that live.
class WatchedHub final : public Runtime {
 public:
  using See = std::function<void(const Input& input)>;

  WatchedHub(std::unique_ptr<Runtime> inner, See see)
      : inner_(std::move(inner)), see_(std::move(see)) {
    ++living;
  }
  ~WatchedHub() override { --living; }

  std::span<const Action> handle(Millis now, const Input& input) override {
    see_(input);
    return inner_->handle(now, input);
  }
  Verdict admit(const input::HttpRequest& request) override {
    see_(request);
    return inner_->admit(request);
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

  static inline int living = 0;

 private:
  std::unique_ptr<Runtime> inner_;
  See see_;
};

/// Holds output back until the end of the turn, as the loop does, and writes down what happens.
class World final : private SessionIo {
 public:
  explicit World(std::string config = R"({"secrets":["s"]})")
      : config_(std::move(config)), session(*this, log_, create_hub()) {
    session.start();
    end_turn();
    heard();
    inputs();
  }

  // events

  void open(ClientId client) {
    clients_[client];
    session.apply(input::ClientOpened{client}, {client, 0});
  }
  void frame(ClientId client, const std::string& text) {
    session.apply(input::ClientFrame{client, text, 1}, {client, 0});
  }
  void post(RequestId request, const std::string& path, const std::string& body) {
    session.apply(posted(request, path, body), {0, request});
  }
  void answer(ForwardId forward, u32 status, const std::string& body) {
    session.apply(input::ForwardDone{forward, status, body, static_cast<u32>(Outcome::answered)});
  }
  void end_turn() {
    session.commit();
    for (const auto& [peer, line] : std::exchange(output_, {})) said_.push_back(line);
    session.start_forwards();
  }

  static input::HttpRequest posted(RequestId request, Bytes path, Bytes body) {
    return {request, static_cast<u32>(body.size()), "POST", path, "Bearer s", body, ""};
  }

  /// The events since the last call.
  std::string heard() { return joined(std::exchange(said_, {})); }
  /// The inputs of the hub since the last call.
  std::string inputs() { return joined(std::exchange(inputs_, {})); }

  // what a test controls

  bool is_disk_full = false;
  bool has_room_for_hub = true;
  /// Called with each input of the hub; may trap.
  std::function<void(const Input& input)> see = [](const Input&) {};
  /// Called with each forward that is sent.
  std::function<void(ForwardId forward)> on_forward = [](ForwardId) {};
  /// Called with each failure.
  std::function<void()> on_fail = [] {};

  std::vector<ForwardId> forwards;
  std::map<std::string, StoredToken> stored;
  Millis clock = 1'000'000;
  int renewals = 0;  ///< of the engine

 private:
  std::unique_ptr<Runtime> create_hub() override {
    REQUIRE(WatchedHub::living == 0);  // two at once may need more memory than there is
    if (!has_room_for_hub) throw std::runtime_error("no room");
    return std::make_unique<WatchedHub>(native_runtime()(config_), [this](const Input& input) {
      inputs_.emplace_back(find_input_shape(static_cast<u32>(input.tag))->name);
      see(input);
    });
  }
  Millis now() override { return clock; }
  u64 draw_epoch() override { return epoch_ += 1000; }
  bool is_recording() override { return false; }
  void record(Bytes) override {}
  std::string recording_place() override { return "none"; }

  std::vector<StoredToken> stored_tokens() override {
    std::vector<StoredToken> tokens;
    for (const auto& [key, token] : written_) tokens.push_back(token);
    return tokens;
  }
  std::vector<OpenClient> open_clients() override {
    std::vector<OpenClient> open;
    for (const auto& [client, record] : clients_) open.push_back({client, record});
    return open;
  }
  void forget_all() override {
    say("forget all");
    written_.clear();
    clients_.clear();
  }

  void fail(const Peer& peer, NoAnswer why) override {
    say("fail " + name(peer) + (why == NoAnswer::trapped ? " trapped" : " no hub"));
    clients_.erase(peer.client);
    on_fail();
  }
  void renew_engine() override { ++renewals; }
  void end_turn_later() override {}
  std::string commit() override {
    if (is_disk_full) {
      written_ = stored;
      for (const std::string& line : std::exchange(writes_, {})) say("lost " + line);
      return "the disk is full";
    }
    stored = written_;
    for (const std::string& line : std::exchange(writes_, {})) say("stored " + line);
    return {};
  }
  void withhold(const Peer& peer) override {
    say("withhold " + name(peer));
    std::erase_if(output_, [&](const auto& line) { return line.first == peer; });
  }

  void put_token(const action::PutToken& it) override {
    writes_.push_back("put " + std::string(it.key));
    const std::string key(it.key);
    written_[key] = {it.state, it.expires_at, key, std::string(it.record)};
  }
  void touch_token(const action::TouchToken& it) override {
    writes_.push_back("touch " + std::string(it.key));
    const auto found = written_.find(std::string(it.key));
    if (found == written_.end()) return;
    found->second.state = it.state;
    found->second.expires_at = it.expires_at;
  }
  void erase_token(const action::EraseToken& it) override {
    writes_.push_back("erase " + std::string(it.key));
    written_.erase(std::string(it.key));
  }
  void attach_client(const action::AttachClient& it) override {
    const auto found = clients_.find(it.client);
    if (found == clients_.end()) return;
    if (it.append == 0) found->second.clear();
    found->second += it.record;
  }
  void send(const action::Send& it) override {
    const std::size_t from = it.text.find('"', it.text.find(':')) + 1;
    const std::string type(it.text.substr(from, it.text.find('"', from) - from));
    for (const ClientId client : it.clients)
      output_.push_back({{client, 0}, "send " + std::to_string(client) + " " + type});
  }
  void respond(const action::Respond& it) override {
    output_.push_back({{0, it.request},
                       "respond " + std::to_string(it.request) + " " + std::to_string(it.status)});
  }
  void forward(const action::Forward& it) override {
    say("forward");
    forwards.push_back(it.forward);
    on_forward(it.forward);
  }
  void cancel_forward(const action::CancelForward&) override { say("cancel a forward"); }
  void engine_run(const action::EngineRun&) override { trap(); }
  void engine_join(const action::EngineJoin&) override { trap(); }
  void engine_leave(const action::EngineLeave&) override { trap(); }
  void close(const action::Close& it) override {
    say("close " + std::to_string(it.client) + " " + std::to_string(it.code));
    clients_.erase(it.client);
  }
  void set_timer(const action::SetTimer&) override {}

  void say(std::string line) { said_.push_back(std::move(line)); }
  static std::string name(const Peer& peer) {
    return peer.client != 0    ? "client " + std::to_string(peer.client)
           : peer.request != 0 ? "request " + std::to_string(peer.request)
                               : "nobody";
  }

  Log log_{LogLevel::silent};
  std::string config_;
  Lines said_;
  Lines inputs_;
  Lines writes_;                                      ///< of this turn
  std::vector<std::pair<Peer, std::string>> output_;  ///< of this turn
  std::map<std::string, StoredToken> written_;        ///< `stored`, with this turn's writes
  std::map<ClientId, std::string> clients_;           ///< open, with their records
  u64 epoch_ = 0;

 public:
  Session session;
};

constexpr char token[] = R"({"token":"t","channel":"c","params":{},"context":null})";
constexpr char subscribe[] = R"({"type":"subscribe","token":"t"})";
constexpr char unsubscribe[] = R"({"type":"unsubscribe","token":"t"})";
constexpr char ping[] = R"({"type":"ping"})";
constexpr char wrong[] = R"({"fault":"client","message":"no"})";

std::string send_with(const char* key) {
  return std::string(R"({"type":"send","token":")") + key +
         R"(","channel":"c","params":{},"data":1})";
}

/// With the token t, free, and client 1.
void settle(World& world) {
  world.post(1, "/connection", token);
  world.open(1);
  world.end_turn();
  world.heard();
}

}  // namespace

TEST_CASE("a change is stored before the answer that reports it is sent") {
  World world;
  world.post(1, "/connection", token);
  CHECK(world.heard() == "");
  world.end_turn();
  CHECK(world.heard() == "stored put t, respond 1 200");
  world.open(1);
  world.frame(1, subscribe);
  world.end_turn();
  CHECK(world.heard() == "stored touch t, send 1 subscribed");
  world.frame(1, unsubscribe);
  world.end_turn();
  CHECK(world.heard() == "stored erase t, send 1 unsubscribed");
}

TEST_CASE("a message is forwarded after its token's state is stored") {
  World world;
  settle(world);
  world.frame(1, send_with("t"));
  CHECK(world.session.holds_forwards());
  world.end_turn();
  CHECK(world.heard() == "stored touch t, forward");
  CHECK(!world.session.holds_forwards());
}

TEST_CASE("a registration that is not stored is not confirmed, and its token is unknown") {
  World world;
  world.open(1);
  world.is_disk_full = true;
  world.post(1, "/connection", token);
  world.end_turn();
  CHECK(world.heard() == "lost put t, withhold request 1, respond 1 503");
  world.is_disk_full = false;
  world.frame(1, subscribe);
  world.end_turn();
  CHECK(world.heard() == "stored erase t, send 1 error");
}

TEST_CASE("only peers whose change was lost get an error") {
  World world;
  settle(world);
  world.open(2);
  world.is_disk_full = true;
  world.frame(1, subscribe);
  world.frame(2, ping);
  world.end_turn();
  CHECK(world.heard() == "lost touch t, withhold client 1, close 1 1011, send 2 pong");
}

TEST_CASE("a message whose token is not stored is not forwarded") {
  World world;
  settle(world);
  world.is_disk_full = true;
  world.frame(1, send_with("t"));
  world.inputs();
  world.end_turn();
  CHECK(world.heard() == "lost touch t, withhold client 1, close 1 1011");
  CHECK(world.inputs() == "not_stored, forward_done");
  world.end_turn();
  CHECK(world.forwards.empty());
}

TEST_CASE(
    "an unsubscribe that is not stored closes the client, and the next turn erases the token") {
  World world;
  settle(world);
  world.frame(1, subscribe);
  world.end_turn();
  world.heard();
  world.is_disk_full = true;
  world.frame(1, unsubscribe);
  world.end_turn();
  CHECK(world.heard() == "lost erase t, withhold client 1, close 1 1011");
  CHECK(world.stored.contains("t"));
  world.is_disk_full = false;
  world.end_turn();
  CHECK(world.heard() == "stored erase t");
  CHECK(world.stored.empty());
}

TEST_CASE("a forward that is cancelled in its own turn is not sent") {
  World world(R"({"secrets":["s"],"forward_timeout_ms":1})");
  settle(world);
  world.frame(1, send_with("t"));
  ++world.clock;
  world.session.apply(input::TimerFired{});
  world.end_turn();
  CHECK(world.heard() == "stored touch t, send 1 error");
}

TEST_CASE("a forward that ends at once may cancel the next one of the same turn") {
  World world(R"({"secrets":["s"],"forward_timeout_ms":1})");
  settle(world);
  world.post(2, "/connection", R"({"token":"u","channel":"c","params":{},"context":null})");
  for (const char* key : {"t", "u"}) world.frame(1, send_with(key));
  world.on_forward = [&](ForwardId forward) {
    world.answer(forward, 200, "");
    ++world.clock;
    world.session.apply(input::TimerFired{});
  };
  world.end_turn();
  CHECK(world.forwards.size() == 1);
  CHECK(!world.session.holds_forwards());
}

TEST_CASE("the consequences of sending a forward belong to the next turn") {
  World world;
  settle(world);
  for (int i = 0; i < 2; ++i) world.frame(1, send_with("t"));  // the second waits for the first
  world.on_forward = [&](ForwardId forward) { world.answer(forward, 200, ""); };
  world.end_turn();
  CHECK(world.forwards.size() == 1);
  world.end_turn();
  CHECK(world.forwards.size() == 2);
}

TEST_CASE(
    "after a trap, begin comes first, then tokens, clients and restored; its sender is closed") {
  World world;
  settle(world);
  world.open(2);
  world.frame(2, R"({"type":"listen","resources":["r"]})");
  world.end_turn();
  world.heard();
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame) throw Trap("trap");
  };
  world.inputs();
  world.frame(1, ping);
  CHECK(world.inputs() == "client_frame, begin, restore_token, restore_client, restored");
  world.see = [](const Input&) {};
  world.post(2, "/resources", R"({"resources":["r"]})");
  world.end_turn();
  CHECK(world.heard() == "fail client 1 trapped, send 2 updated, respond 2 200");
}

TEST_CASE("after a trap, the answer to a forward of the previous hub is ignored") {
  World world;
  settle(world);
  world.open(2);
  world.frame(1, send_with("t"));
  world.end_turn();
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame) throw Trap("trap");
  };
  world.frame(2, ping);
  world.see = [](const Input&) {};
  world.frame(1, send_with("t"));
  world.end_turn();
  world.heard();
  REQUIRE(world.forwards.size() == 2);
  CHECK(world.forwards[0] != world.forwards[1]);
  world.answer(world.forwards[0], 400, wrong);
  world.end_turn();
  CHECK(world.heard() == "");
  world.answer(world.forwards[1], 400, wrong);
  world.end_turn();
  CHECK(world.heard() == "send 1 error");
}

TEST_CASE("a drain goes on after a trap, for the time left") {
  World world;
  for (ClientId client = 1; client <= 3; ++client) world.open(client);
  std::vector<u32> drains;
  world.see = [&](const Input& input) {
    if (input.tag == InputTag::draining) drains.push_back(input.draining.ms);
    if (input.tag == InputTag::timer_fired) throw Trap("trap");
  };
  world.session.drain(10'000);
  for (const Millis ms : {6'000u, 5'000u}) {
    world.clock += ms;
    world.session.apply(input::TimerFired{});
  }
  CHECK(drains == std::vector<u32>{10'000, 4'000, 0});
  CHECK(world.heard() ==
        "fail nobody trapped, fail nobody trapped, close 1 4001, close 2 4001, close 3 4001");
}

TEST_CASE("the new hub learns of a change that was not stored in the turn of the trap") {
  World world;
  settle(world);
  world.open(2);
  world.is_disk_full = true;
  world.frame(1, subscribe);
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame) throw Trap("trap");
  };
  world.frame(2, ping);
  world.end_turn();
  CHECK(world.heard() == "fail client 2 trapped, lost touch t, withhold client 1, close 1 1011");
}

// Two hubs may need more memory than there is: World::create_hub checks that the old one is gone.
TEST_CASE("a hub is released before the next is created, and a failed creation is tried again") {
  World world;
  settle(world);
  world.open(2);
  world.end_turn();
  world.heard();
  world.has_room_for_hub = false;
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame) throw Trap("trap");
  };
  world.frame(1, ping);
  world.frame(2, ping);
  CHECK(std::get<NoAnswer>(world.session.admit(World::posted(2, "/message", ""))) ==
        NoAnswer::no_hub);
  world.post(2, "/message", "");
  CHECK(world.heard() == "fail client 1 trapped, fail client 2 no hub, fail request 2 no hub");
  world.has_room_for_hub = true;
  world.see = [](const Input&) {};
  world.session.retry();
  world.open(3);
  world.frame(3, subscribe);
  world.end_turn();
  CHECK(world.heard() == "stored touch t, send 3 subscribed");
}

TEST_CASE("a new hub gets new connections to the engine, and nothing that came from the old ones") {
  World world;
  world.open(1);
  CHECK(world.renewals == 0);
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame) throw Trap("trap");
  };
  world.frame(1, ping);
  CHECK(world.renewals == 1);
  world.open(2);
  world.has_room_for_hub = false;
  world.frame(2, ping);
  world.has_room_for_hub = true;
  const int before = world.renewals;
  world.inputs();
  world.session.apply(input::EngineMessage{0, "topic", "1 text"});
  CHECK(world.renewals == before + 1);
  CHECK(world.inputs() == "begin, restored");
  world.session.apply(input::EngineUp{0, 0});
  CHECK(world.inputs() == "engine_up");
  // One that comes while actions are performed waits; meanwhile the hub traps.
  world.on_fail = [&] { world.session.apply(input::EngineDown{0}); };
  world.open(3);
  world.inputs();
  world.frame(3, ping);
  CHECK(world.inputs() == "client_frame, begin, restored");
}

TEST_CASE("a trap in admission replaces the hub, and the next request is admitted") {
  World world;
  bool is_first = true;
  world.see = [&](const Input& input) {
    if (input.tag == InputTag::http_request && std::exchange(is_first, false)) throw Trap("trap");
  };
  const auto admit = [&] { return world.session.admit(World::posted(0, "/message", "")); };
  CHECK(std::get<NoAnswer>(admit()) == NoAnswer::trapped);
  CHECK(world.heard() == "fail nobody trapped");
  CHECK(std::get<Verdict>(admit()).kind == VerdictKind::body);
}

TEST_CASE("when the stored records trap, a hub starts empty") {
  World world;
  settle(world);
  world.see = [](const Input& input) {
    if (input.tag == InputTag::client_frame || input.tag == InputTag::restore_token)
      throw Trap("trap");
  };
  world.inputs();
  world.frame(1, ping);
  CHECK(world.heard() == "fail client 1 trapped, forget all");
}

}  // namespace sidekick::host
