// Bytes become a conversation: clients, an app server, a host that may restart at any moment. A
// model of the host performs every action and checks what any host may rely on. A twin hub with the
// same input must write the same trace. With an engine, which may answer late, wrongly or never. At
// the end everybody leaves, time passes, and nothing may remain.
//
// One byte chooses a step, the following bytes its details: names from small alphabets, so that
// steps interact, or raw bytes.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "choices.hpp"
#include "fuzz.hpp"
#include "sidekick/engine.hpp"
#include "sidekick/hub.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/shard.hpp"
#include "sidekick/trace.hpp"

using namespace sidekick;
using fuzz::Choices;
using fuzz::Exact;

namespace {

constexpr Bytes tokens[] = {R"("t0")",
                            R"("t1")",
                            R"("t2")",
                            R"("t3")",
                            R"("\u0074\u0031")",
                            R"("\ud800")",
                            R"("")",
                            R"("tttttttttttttttttttttttt")",
                            "1"};
constexpr Bytes channels[] = {R"("chat")",
                              R"("chat")",
                              R"("a/b")",
                              R"("a,b:c\\")",
                              R"("")",
                              R"("\udfff")",
                              R"("cccccccccccccccccccc")",
                              "null"};
constexpr Bytes params[] = {
    R"({ "room": "1" })",
    R"({ "room": "1" })",
    "{}",
    R"({ "a": "1,b:2" })",
    R"({ "a": "1", "b": "2" })",
    R"({"b":"2","a":"1"})",
    R"({ "a": "1", "\u0061": "2" })",
    R"({ "a": 1 })",
    R"({ "1": "", "2": "", "3": "", "4": "", "5": "" })",
    R"({ "\ud800": "\n" })",
    "[]",
};
constexpr Bytes values[] = {
    "null",
    "1e400",
    R"("x")",
    R"("\ud800")",
    R"({ "deep": [[{ "x": map { date:2026-01-27 : set { 1 } } }]] })",
    "[[[[[[[[[1]]]]]]]]]",
    "\"\xF0\x9F\x98\x80\"",
    "date:2026-01-27T15:30:00.000Z",
    "NaN",
    R"({ "__proto__": 1 })",
};
constexpr Bytes resources[] = {R"("todo/1")",
                               R"("todo/2")",
                               R"("")",
                               R"("a,b")",
                               R"("\ud800")",
                               R"("\u0074odo/1")",
                               "\"\xC3\xA9\"",
                               R"("rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr")",
                               "7"};
constexpr Bytes sessions[] = {R"("session-number-one")",      R"("session-number-two")",
                              R"("session-number-three")",    R"("too-short")",
                              R"("\u0073ession-number-one")", "1"};
constexpr Bytes ids[] = {"1", "2", "3", "9007199254740991", "0", "1.5", R"("1")"};
constexpr Bytes positions[] = {"1700000000000000",
                               "1700000000050000",
                               "1699999999999999",
                               "0",
                               "9007199254740991",
                               "-1",
                               "null"};
// Of the first hub, and of the ones after it.
constexpr Bytes epochs[] = {R"("2gosa7pa2gt")", R"("2gosa7pa2gt.1")", R"("0")", R"("x.01")", "7"};
constexpr Bytes types[] = {"subscribe", "unsubscribe", "send", "listen", "unlisten", "ping"};
constexpr Bytes paths[] = {"/connection", "/message", "/resources", "/health",  "/socket",
                           "/",           "",         "/message?x", "/metrics", "/ready"};
constexpr Bytes handshake =
    "Upgrade: websocket\nConnection: keep-alive, Upgrade\nSec-WebSocket-Version: 13\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: a, b\n"
    "Origin: https://a.example.com\n";
constexpr Bytes methods[] = {"POST", "POST", "GET", "HEAD", "post", ""};
constexpr Bytes authorizations[] = {"Bearer secret",       "bearer other", "Bearer ", "",
                                    "Bearer secretsecret", "Basic secret"};
constexpr Bytes answers[] = {
    "",
    R"({ "fault": "client", "message": "no" })",
    R"({"fault":"sidekick","message":"\ud800"})",
    R"({ "fault": "who", "message": "" })",
    R"({ "error": 1 })",
    "<html>",
};
constexpr u16 statuses[] = {204, 200, 400, 500, 0, 302};
constexpr u64 spans_ms[] = {0, 1, 49, 50, 99, 100, 499, 500, 5000, 1ull << 40};
constexpr u32 client_count = 6;
constexpr Bytes node = "00000000000000aa";
constexpr u32 no_shard = 256;
// What the engine may say, to any call, and messages of topics and of the inbox.
constexpr Bytes engine_values[] = {
    "1700000000000001",
    "ok",
    "1700000000050000",
    "0",
    "1",
    "2",
    "3",
    "4",
    "held",
    "none",
    "lost",
    "all",
    "",
    "x",
    "9007199254740991",
    "99999999999999999999",
    R"({ "channel": "chat", "params": { "room": "1" } })",
    R"({ "channel": "chat", "params": {}, "context": 1 })",
    R"({ "type": "message", "channel": "chat", "params": {}, "data": 1 })",
};
constexpr Bytes engine_topics[] = {"channel:chat/room:1",
                                   "resource:todo/1",
                                   "resource:todo/2",
                                   "channel:chat/",
                                   "resource:",
                                   "what",
                                   "channel:"};
constexpr Bytes bodies[] = {
    R"(1700000000000001 { "type": "message", "channel": "chat", "params": {}, "data": 1 })",
    "1700000000050000",
    "9007199254740991",
    "0",
    "",
    "x",
    "1700000000000002 what",
};
constexpr Bytes inbox_bodies[] = {
    "beat 1 1 1700000000000001 x",
    "beat 2 0 1700000000000002 x",
    "beat 3 0 0 -",
    "asked 9007199254740989.1 t0",
    "taken 9007199254740989.1 t0",
    "taken session-number-one t1",
    "asked session-number-one t1",
    "asked x",
    "taken  ",
    "beat",
};

void append(std::string& out, std::initializer_list<Bytes> parts) {
  for (const Bytes part : parts) out += part;
}

std::string resource_list(Choices& choices) {
  std::string list = "[";
  for (u32 left = choices.below(6); left > 0; --left)
    append(list, {list.size() > 1 ? ", " : "", choices.one_of(resources)});
  return list + "]";
}

/// A frame or body, mostly with every member that its kind may have.
std::string message(Choices& choices, Bytes type) {
  std::string text = "{ ";
  const u32 shape = choices.byte();
  const u32 left_out = shape % 64;        // mostly none
  const bool is_extended = shape >= 224;  // as by a client that has said hello
  u32 index = 0;
  const auto member = [&](Bytes name, Bytes value) {
    if (index++ != left_out) append(text, {text.size() > 2 ? ", " : "", "\"", name, "\": ", value});
  };
  if (!type.empty()) member("type", "\"" + std::string(type) + "\"");
  if (is_extended) member("id", choices.one_of(ids));
  if (type == "listen" || type == "unlisten" || type == "/resources") {
    member("resources", resource_list(choices));
    if (is_extended && choices.below(8) == 0) member("hello", choices.one_of(sessions));
  } else if (type != "ping") {
    member("token", choices.one_of(tokens));
    if (type != "subscribe" && type != "unsubscribe") {
      member("channel", choices.one_of(channels));
      member("params", choices.one_of(params));
      member(type == "/connection" ? "context" : "data", choices.one_of(values));
    }
  }
  if (is_extended) {
    member("since", choices.one_of(positions));
    member("epoch", choices.one_of(epochs));
    if (choices.below(2) == 0) member("again", choices.below(8) == 0 ? "1" : "true");
  }
  text += " }";
  if (choices.below(16) == 0) text.insert(choices.byte() % text.size(), choices.raw());
  return text;
}

Config small_config(Choices& choices) {
  Config config;
  config.secrets = {"secret", "other"};
  config.hash_seed = choices.byte();
  if (config.hash_seed % 8 == 7) config.allowed_origins = {"https://*.example.com"};
  const u8 options = choices.byte();
  config.token_resume_ms = (options & 1) != 0 ? 100 : 0;
  config.forward_concurrent = (options & 2) != 0 ? 1 : 0;
  config.frames_per_second = (options & 4) != 0 ? 100 : 0;
  config.frames_burst = 3;
  config.topic_store_bytes_max = (options & 8) != 0 ? 1024 : 4096;
  config.token_store_bytes_max = (options & 16) != 0 ? 1024 : 4096;
  config.forward_store_bytes_max = (options & 32) != 0 ? 1024 : 4096;
  config.tokens_per_client_max = (options & 64) != 0 ? 1 : 3;
  config.clients_max = (options & 128) != 0 ? 2 : 5;
  config.frame_bytes_max = 300;
  config.http_body_bytes_max = 300;
  config.depth_max = 8;
  config.resources_per_message_max = 4;
  config.topics_per_client_max = 5;
  config.topic_bytes_per_client_max = 64;
  config.token_bytes_max = 16;
  config.channel_bytes_max = 16;
  config.params_max = 4;
  config.resource_bytes_max = 32;
  config.tokens_max = 4;
  config.forwards_waiting_max = 2;
  config.forward_answer_bytes_max = 64;
  config.forward_timeout_ms = 50;
  config.token_ttl_ms = 500;
  config.client_buffer_bytes_max = 1024;
  if (config.hash_seed >= 216 && config.hash_seed <= 240) {
    config.engine_shards = config.hash_seed < 229 ? 1 : 3;
    config.node = node;
    config.engine_wait_ms = 50;
    config.engine_calls_max = 16;
    config.topic_linger_ms = 50;
    config.resync_spread_ms = 500;
    config.parked_bytes_per_client_max = 800;
    config.parked_store_bytes_max = 2000;
  }
  return config;
}

bool is_valid_ion(Bytes text) { return ion::validate(text, ion::depth_ceiling).ok(); }

/// Plays the host: stores what a host stores, performs the actions, and checks them.
class Host {
 public:
  explicit Host(const Config& config) : config_(config) {
    for (u32 shard = 0; shard < config.engine_shards; ++shard)
      engine_.push_back({engine::Shard("run-1"), false, {}});
    start();
    give(input::Restored{});
    for (u32 shard = 0; shard < engine_.size(); ++shard) give_up(shard, 0);
  }

  void step(Choices& choices);
  /// Some engines answer at once, so that clients get further.
  void after_step() {
    if (config_.hash_seed % 2 == 1) answer_all();
  }
  void leave_nothing();

 private:
  struct Counts {
    u32 clients, tokens, topics, forwards;
  };

  void start();
  void give(const Input& input);
  void give_frame(u32 client, Bytes frame, u32 is_text = 1) {
    give(input::ClientFrame{client, Exact(frame), is_text});
  }
  void give_not_stored(const Input& input);
  bool store(u32 durable, Bytes key = {});
  void open(u32 client);
  void join(u32 client, Choices& choices);
  void greet(u32 client, Choices& choices);
  void talk(Choices& choices);
  void give_http(Bytes method, Bytes path, Bytes authorization, Bytes body, u32 body_bytes,
                 Bytes headers = {});
  Verdict ask(const input::HttpRequest& request);
  void check_answer(const input::HttpRequest& request);
  void perform(const Action& action);
  void check_lines(const std::string& lines) const;
  void restart(u8 returning, Choices& choices, bool adds_row);
  void restore_token(Bytes key, u32 state, Millis expires_at, Bytes record);
  void restore_client(u32 client, Bytes record);
  void give_restore_token(Choices& choices);
  Counts counts();
  void check_counts();
  void step_engine(Choices& choices);
  void give_up(u32 shard, u32 kept);
  void give_down(u32 shard);
  void forget_calls(u32 shard);
  void begin_call(u32 call, u32 shard, Bytes script, std::span<const Bytes> args);
  void answer(u32 call);
  void give_answer(u32 call, u32 status, const std::vector<std::string>& said);
  void give_messages(u32 shard);
  void answer_all();

  /// A client on a channel, at this time.
  struct Member {
    u32 client;
    Bytes token;
    std::string scope;  // as members of a message
  };

  const Config config_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Hub> twin_;
  Actions actions_;
  Actions twin_actions_;
  std::string lines_;
  std::string twin_lines_;

  Millis now_ = 1'700'000'000'000;
  Millis latest_ = 0;  // as seen by the hub
  Millis timer_at_ = 0;
  u64 epoch_ = number_max - 2;  // in base 36: epochs[0]
  u32 request_ = 0;
  bool is_answered_ = false;
  std::string answer_;
  u32 answer_status_ = 0;
  std::set<u32> open_;
  std::set<u64> in_flight_;
  std::vector<u64> earlier_;  // forwards of earlier hubs
  u64 answered_ = 0;          // the forward of this forward_done
  struct TokenRow {
    u32 state = 0;
    Millis expires_at = 0;
    std::string record;
  };
  std::map<std::string, TokenRow> stored_;
  std::set<std::string> orphans_;   // rows that the hub has forgotten, but the store has not
  bool is_failing_ = false;         // the store, for durable actions of the next input
  bool has_lost_ = false;           // one of this input
  std::set<std::string> unstored_;  // tokens that could not be stored
  std::string lost_key_;            // of a put_token or an erase_token
  std::string not_stored_key_;      // of the not_stored that is being given
  std::vector<u64> withheld_;
  std::map<u32, std::string> attached_;
  std::vector<Member> joined_;
  bool is_tampered_ = false;  // some rows were not written by a hub

  struct EngineShard {
    engine::Shard shard;
    bool is_up = false;
    std::set<std::string> joined;
  };
  struct Call {
    u32 shard = 0;
    std::string script;  // empty: a join
    std::vector<std::string> args;
  };
  std::vector<EngineShard> engine_;
  std::map<u32, Call> calls_;  // under way
  std::set<u32> waiting_;      // requests
  /// The shard of this engine_up or engine_down: what was due before it still goes to the lost
  /// connection, and a host ignores it.
  u32 changing_ = no_shard;
  bool has_odd_text_ = false;  // the engine has sent some
};

void Host::start() {
  hub_ = std::make_unique<Hub>(config_);
  twin_ = std::make_unique<Hub>(config_);
  timer_at_ = 0;
  latest_ = 0;
  earlier_.insert(earlier_.end(), in_flight_.begin(), in_flight_.end());
  in_flight_.clear();
  is_failing_ = false;
  for (u32 shard = 0; shard < engine_.size(); ++shard) forget_calls(shard);
  waiting_.clear();
  give(input::Begin{epoch_});
  FUZZ_CHECK(actions_.empty());
  epoch_ = (epoch_ * 6364136223846793005 + 1442695040888963407) & number_max;
}

void Host::give(const Input& input) {
  latest_ = std::max(latest_, now_);
  lines_.clear();
  twin_lines_.clear();
  trace::append_input(lines_, *hub_, now_, input);
  hub_->handle(now_, input, actions_);
  for (const Action& action : actions_) trace::append_action(lines_, action);
  if (std::getenv("VERBOSE") != nullptr) std::fprintf(stderr, "%s", lines_.c_str());
  for (const Action& action : actions_) perform(action);
  trace::append_input(twin_lines_, *twin_, now_, input);
  twin_->handle(now_, input, twin_actions_);
  for (const Action& action : twin_actions_) trace::append_action(twin_lines_, action);
  FUZZ_CHECK(lines_ == twin_lines_);
  check_lines(lines_);
  if (has_lost_) give_not_stored(input);
}

/// Returns whether this action is stored. A durable one that is not must not be confirmed.
bool Host::store(u32 durable, Bytes key) {
  if (durable == 0 || !is_failing_) return true;
  if (stored_.count(std::string(key)) == 1) orphans_.insert(std::string(key));
  has_lost_ = true;
  return false;
}

void Host::give_not_stored(const Input& input) {
  is_failing_ = has_lost_ = false;
  not_stored_key_ = std::exchange(lost_key_, {});
  const std::vector<u64> withheld = std::move(withheld_);
  withheld_.clear();
  if (input.tag == InputTag::client_frame) {
    const u32 client = input.client_frame.client;
    give(input::NotStored{client, 0, Exact(not_stored_key_)});
    FUZZ_CHECK(open_.count(client) == 0);
  } else {
    FUZZ_CHECK(input.tag == InputTag::http_request);
    is_answered_ = false;
    give(input::NotStored{0, input.http_request.request, Exact(not_stored_key_)});
    FUZZ_CHECK(is_answered_ && answer_status_ == 503);
  }
  not_stored_key_.clear();
  for (const u64 forward : withheld) {
    in_flight_.erase(forward);
    give(input::ForwardDone{forward, 0, "", static_cast<u32>(Outcome::unreachable)});
  }
}

void Host::check_lines(const std::string& lines) const {
  for (std::size_t start = 0; start < lines.size();) {
    const std::size_t end = lines.find('\n', start);
    FUZZ_CHECK(end != std::string::npos);
    FUZZ_CHECK(nlohmann::json::accept(lines.data() + start, lines.data() + end));
    start = end + 1;
  }
  FUZZ_CHECK(lines.find("secret\"") == std::string::npos ||
             lines.find("authorization") == std::string::npos);
}

void Host::perform(const Action& action) {
  switch (action.tag) {
    case ActionTag::put_token:
      FUZZ_CHECK(is_valid_ion(action.put_token.record));
      FUZZ_CHECK(action.put_token.state <= 2);
      FUZZ_CHECK((action.put_token.state == 0) == (action.put_token.expires_at != 0));
      FUZZ_CHECK(action.put_token.durable == 1);
      if (!store(1, action.put_token.key)) {
        lost_key_ = action.put_token.key;
        unstored_.insert(lost_key_);
        break;
      }
      unstored_.erase(std::string(action.put_token.key));
      orphans_.erase(std::string(action.put_token.key));
      stored_[std::string(action.put_token.key)] = {action.put_token.state,
                                                    action.put_token.expires_at,
                                                    std::string(action.put_token.record)};
      break;
    case ActionTag::touch_token: {
      const auto row = stored_.find(std::string(action.touch_token.key));
      FUZZ_CHECK(action.touch_token.state <= 2);
      FUZZ_CHECK(row != stored_.end() || unstored_.count(std::string(action.touch_token.key)) == 1);
      FUZZ_CHECK((action.touch_token.state == 0) == (action.touch_token.expires_at != 0));
      FUZZ_CHECK(action.touch_token.durable == (action.touch_token.state != 0));
      if (!store(action.touch_token.durable) || row == stored_.end()) break;
      row->second.state = action.touch_token.state;
      row->second.expires_at = action.touch_token.expires_at;
      break;
    }
    case ActionTag::erase_token:
      FUZZ_CHECK(action.erase_token.durable <= 1);
      if (!store(action.erase_token.durable, action.erase_token.key)) {
        lost_key_ = action.erase_token.key;
        break;
      }
      FUZZ_CHECK(stored_.erase(std::string(action.erase_token.key)) == 1 ||
                 !engine_.empty() ||  // claimed, but not taken by a client
                 action.erase_token.key == not_stored_key_);
      orphans_.erase(std::string(action.erase_token.key));
      break;
    case ActionTag::attach_client:
      FUZZ_CHECK(open_.count(action.attach_client.client) == 1);
      FUZZ_CHECK(action.attach_client.record.empty() || is_valid_ion(action.attach_client.record));
      // A whole record need not be durable: after a step back of the clock no client is told.
      FUZZ_CHECK(action.attach_client.record.empty()
                     ? action.attach_client.durable == 0
                     : action.attach_client.durable == 1 || action.attach_client.append == 0);
      if (!store(action.attach_client.durable)) break;
      if (action.attach_client.append == 0) attached_[action.attach_client.client].clear();
      attached_[action.attach_client.client] += action.attach_client.record;
      break;
    case ActionTag::send: {
      const std::span<const u32> clients = action.send.clients;
      FUZZ_CHECK(!clients.empty());
      for (const u32 client : clients) FUZZ_CHECK(open_.count(client) == 1);
      FUZZ_CHECK(std::set<u32>(clients.begin(), clients.end()).size() == clients.size());
      FUZZ_CHECK(has_odd_text_ || is_valid_ion(action.send.text));
      FUZZ_CHECK(has_odd_text_ || action.send.text.starts_with("{ \"type\": \"") ||
                 action.send.text == R"({"type":"pong"})" ||
                 action.send.text.starts_with(R"({"type":"pong","at":)"));
      FUZZ_CHECK(action.send.text.starts_with("{ \"type\": \"error\"") ==
                 (action.send.code != ErrorCode::ok));
      break;
    }
    case ActionTag::respond:
      if (waiting_.erase(action.respond.request) == 1) break;
      FUZZ_CHECK(action.respond.request == request_ && !is_answered_);
      FUZZ_CHECK(ion::is_utf8(action.respond.body));
      FUZZ_CHECK((action.respond.status == 200) == (action.respond.code == ErrorCode::ok));
      is_answered_ = true;
      answer_ = action.respond.body;
      answer_status_ = action.respond.status;
      break;
    case ActionTag::forward:
      FUZZ_CHECK(action.forward.forward != 0 && action.forward.forward <= number_max &&
                 action.forward.timeout_ms == config_.forward_timeout_ms);
      FUZZ_CHECK(in_flight_.insert(action.forward.forward).second);
      FUZZ_CHECK(is_valid_ion(action.forward.body));
      if (has_lost_) withheld_.push_back(action.forward.forward);
      break;
    case ActionTag::cancel_forward:
      FUZZ_CHECK(in_flight_.erase(action.cancel_forward.forward) == 1 ||
                 action.cancel_forward.forward == answered_);
      break;
    case ActionTag::close:
      FUZZ_CHECK(open_.erase(action.close.client) == 1);
      FUZZ_CHECK(ion::is_utf8(action.close.reason) &&
                 action.close.reason.size() <= 123);  // RFC 6455 section 5.5
      FUZZ_CHECK(action.close.why != ErrorCode::ok);
      attached_.erase(action.close.client);
      break;
    case ActionTag::set_timer:
      FUZZ_CHECK(action.set_timer.at_ms > latest_ && action.set_timer.at_ms != timer_at_);
      timer_at_ = action.set_timer.at_ms;
      break;
    case ActionTag::engine_run: {
      const action::EngineRun& run = action.engine_run;
      const EngineScript* script = find_engine_script(run.script);
      FUZZ_CHECK(script != nullptr);
      FUZZ_CHECK(is_engine_count(script->arguments, static_cast<u32>(run.args.size())));
      begin_call(run.call, run.shard, run.script, run.args);
      break;
    }
    case ActionTag::engine_join: {
      const action::EngineJoin& join = action.engine_join;
      FUZZ_CHECK(!join.topics.empty());
      begin_call(join.call, join.shard, "", join.topics);
      for (const Bytes topic : join.topics)
        FUZZ_CHECK(engine_[join.shard].joined.insert(std::string(topic)).second);
      break;
    }
    case ActionTag::engine_leave: {
      const action::EngineLeave& leave = action.engine_leave;
      FUZZ_CHECK(leave.shard < engine_.size());
      if (leave.shard == changing_) break;
      FUZZ_CHECK(engine_[leave.shard].is_up);
      for (const Bytes topic : leave.topics)
        FUZZ_CHECK(engine_[leave.shard].joined.erase(std::string(topic)) == 1);
      engine_[leave.shard].shard.leave(node, leave.topics);
      break;
    }
  }
}

void Host::begin_call(u32 call, u32 shard, Bytes script, std::span<const Bytes> args) {
  FUZZ_CHECK(shard < engine_.size() && call != 0);
  FUZZ_CHECK(engine_[shard].is_up || shard == changing_);
  FUZZ_CHECK(
      calls_.emplace(call, Call{shard, std::string(script), {args.begin(), args.end()}}).second);
}

void Host::forget_calls(u32 shard) {
  std::erase_if(calls_, [shard](const auto& it) { return it.second.shard == shard; });
  engine_[shard].shard.detach(node);
  engine_[shard].joined.clear();
  engine_[shard].is_up = false;
}

void Host::give_up(u32 shard, u32 kept) {
  forget_calls(shard);
  engine_[shard].shard.attach(node);
  engine_[shard].is_up = true;
  changing_ = shard;
  give(input::EngineUp{shard, kept});
  changing_ = no_shard;
}

void Host::give_down(u32 shard) {
  forget_calls(shard);
  changing_ = shard;
  give(input::EngineDown{shard});
  changing_ = no_shard;
  forget_calls(shard);
}

void Host::give_answer(u32 call, u32 status, const std::vector<std::string>& said) {
  std::vector<Exact> texts;
  for (const std::string& text : said) texts.emplace_back(text);
  const std::vector<Bytes> views(texts.begin(), texts.end());
  if (const auto at = calls_.find(call); at != calls_.end()) {
    if (status != 0 && at->second.script.empty()) {
      for (const std::string& topic : at->second.args)
        engine_[at->second.shard].joined.erase(topic);
    }
    calls_.erase(at);
  }
  give(input::EngineAnswer{call, status, views});
}

/// As the engine does.
void Host::answer(u32 number) {
  const Call call = calls_.at(number);
  const std::vector<Bytes> args(call.args.begin(), call.args.end());
  engine::Shard& shard = engine_[call.shard].shard;
  if (call.script.empty()) return give_answer(number, shard.join(node, args) ? 0 : 1, {});
  const engine::Shard::Answer answer = shard.run(now_ * 1000, call.script, args);
  give_answer(number, answer.status, answer.values);
}

void Host::give_messages(u32 shard) {
  for (const engine::Shard::Publication& it : engine_[shard].shard.take_publications()) {
    const bool is_for_us = std::find(it.nodes.begin(), it.nodes.end(), node) != it.nodes.end();
    if (is_for_us && engine_[shard].is_up)
      give(input::EngineMessage{shard, Exact(it.topic), Exact(it.body)});
  }
}

void Host::answer_all() {
  for (u32 left = 50; left > 0 && !calls_.empty(); --left) answer(calls_.begin()->first);
  for (u32 shard = 0; shard < engine_.size(); ++shard) give_messages(shard);
}

void Host::step_engine(Choices& choices) {
  const u32 shard = choices.below(static_cast<u32>(engine_.size()));
  const auto any_call = [&] {
    const u32 place = choices.byte();
    return calls_.empty() || place >= 240
               ? place
               : std::next(calls_.begin(), static_cast<long>(place % calls_.size()))->first;
  };
  const u32 kind = choices.byte();
  switch (kind % 16) {
    case 0:
    case 1:
      give_up(shard, kind < 64 ? 1 : 0);
      break;
    case 2:
      give_down(shard);
      break;
    case 3:
      if (kind < 128) {
        engine_[shard].shard.set_full(kind < 64);
      } else if (kind < 192) {
        engine_[shard].shard.flush();
      } else {  // another node claims or erases a token, or publishes
        const std::string key = "t" + std::to_string(choices.below(4));
        const Bytes claim[] = {key, "00000000000000bb", "session-number-one", "500"};
        const Bytes lease[] = {"00000000000000bb", "500", "1"};
        const Bytes update[] = {"4", engine_topics[choices.below(7)]};
        engine_[shard].shard.run(now_ * 1000, "beat", lease);
        engine_[shard].shard.run(now_ * 1000, "claim", claim);
        engine_[shard].shard.run(now_ * 1000, "update", update);
      }
      break;
    case 4:
    case 5: {  // wrong, or a surprise
      const u32 call = any_call();
      std::vector<std::string> said;
      for (u32 left = choices.below(8); left > 0; --left)
        said.emplace_back(choices.below(16) == 0
                              ? choices.raw()
                              : engine_values[choices.below(std::size(engine_values))]);
      has_odd_text_ = true;
      give_answer(call, kind < 200 ? 0 : kind - 199, said);
      break;
    }
    case 6: {
      has_odd_text_ = true;
      const Exact topic(choices.below(16) == 0 ? choices.raw() : choices.one_of(engine_topics));
      const Exact body(choices.below(16) == 0 ? choices.raw() : choices.one_of(bodies));
      give(input::EngineMessage{kind < 224 ? shard : kind, topic, body});
      break;
    }
    case 7:
      give(input::EngineMessage{
          shard, "",
          Exact(choices.below(16) == 0 ? choices.raw()
                                       : inbox_bodies[choices.below(std::size(inbox_bodies))])});
      break;
    case 8:
      give_messages(shard);
      break;
    case 9:
    case 10: {
      const u32 call = any_call();
      if (calls_.count(call) == 1) answer(call);
      break;
    }
    case 11: {  // the heartbeat
      const Bytes beat[] = {node, "500", "7"};
      engine_[shard].shard.run(now_ * 1000, "beat", beat);
      give_messages(shard);
      break;
    }
    default:
      answer_all();
      break;
  }
}

void Host::step(Choices& choices) {
  const u32 client = choices.below(client_count);
  const u32 kind = choices.byte();
  if (!engine_.empty() && kind % 4 == 3) return step_engine(choices);
  switch (kind < 247 ? kind % 19 : 19) {
    case 0:
      open(client);
      break;
    case 1:
    case 2:
    case 3: {
      const u32 type = choices.byte();
      if (type < 200) open(client);  // otherwise perhaps a closed one
      give_frame(client, message(choices, types[type % std::size(types)]));
      break;
    }
    case 19:
      greet(client, choices);
      break;
    case 14:
    case 15:
      join(client, choices);
      break;
    case 16:
    case 17:
      talk(choices);
      break;
    case 18:
      if (client == 0) give(input::ShuttingDown{});
      if (client == 1) give(input::Draining{300});
      if (client > 3 && engine_.empty()) is_failing_ = true;
      break;
    case 4: {
      const Bytes frame = choices.raw();
      give_frame(client, frame, frame.size() % 2);
      break;
    }
    case 5:
      if (open_.erase(client) == 0 && choices.below(2) == 0)
        break;  // sometimes one the hub does not know
      attached_.erase(client);
      give(input::ClientClosed{client});
      break;
    case 6:
      give(input::ClientLagging{client, 1020u + choices.below(10)});
      break;
    case 7:
    case 8: {
      const Bytes path = paths[choices.below(3)];
      give_http("POST", path, "Bearer secret", message(choices, path), 0);
      break;
    }
    case 9: {
      const Bytes method = choices.one_of(methods);
      const Bytes path = choices.one_of(paths);
      const Bytes authorization = choices.one_of(authorizations);
      const u32 declared = choices.byte() * 2u;
      const Bytes raw = choices.raw();
      if (path == "/socket") {
        give_http(method, path, authorization, "", declared % 3, raw.empty() ? handshake : raw);
      } else {
        give_http(method, path, authorization, raw, declared);
      }
      break;
    }
    case 10: {
      u64 forward = choices.byte();
      if (!in_flight_.empty() && forward < 224)
        forward = *std::next(in_flight_.begin(), static_cast<long>(forward % in_flight_.size()));
      else if (!earlier_.empty() && forward >= 240)
        forward = earlier_[forward % earlier_.size()];
      in_flight_.erase(forward);
      answered_ = forward;
      const u32 status = statuses[choices.below(std::size(statuses))];
      const Exact body(choices.below(4) == 0 ? choices.raw() : choices.one_of(answers));
      // With an outcome that does not exist, too.
      const u32 outcome = status == 0 ? 1 + static_cast<u32>(Bytes(body).size()) % 5 : 0;
      give(input::ForwardDone{forward, status, body, outcome});
      answered_ = 0;
      break;
    }
    case 11: {
      const Millis span = spans_ms[choices.below(std::size(spans_ms))];
      if (choices.below(8) == 0) {
        now_ -= std::min(now_, span);
      } else {
        now_ += span;
      }
      if (timer_at_ != 0 && timer_at_ <= now_ && choices.below(2) == 0) {
        timer_at_ = 0;
        give(input::TimerFired{});
      }
      break;
    }
    case 12:
      timer_at_ = 0;
      give(input::TimerFired{});
      break;
    case 13:
      if (client < 4) {
        restart(choices.byte(), choices, client == 3);
      } else {
        check_counts();
      }
      break;
  }
}

void Host::open(u32 client) {
  if (open_.count(client) == 1) return;
  // Sometimes as if it was admitted before others had opened.
  const input::HttpRequest request{0, 0, "GET", "/socket", "", "", handshake};
  const Verdict verdict = ask(request);
  if (verdict.kind != VerdictKind::socket && client != 0) return;
  FUZZ_CHECK(verdict.kind == VerdictKind::ask || verdict.protocol == "a");
  open_.insert(client);
  give(input::ClientOpened{client});
}

/// The sequence of every real client.
void Host::join(u32 client, Choices& choices) {
  open(client);
  Member member{client, tokens[choices.below(4)], {}};
  append(member.scope,
         {"\"channel\": ", choices.one_of(channels), ", \"params\": ", choices.one_of(params)});
  std::string text;
  append(text, {"{ \"token\": ", member.token, ", ", member.scope,
                ", \"context\": ", choices.one_of(values), " }"});
  give_http("POST", "/connection", "Bearer secret", text, 0);
  text.clear();
  append(text, {"{ \"type\": \"subscribe\", \"token\": ", member.token, " }"});
  give_frame(client, text);
  joined_.push_back(std::move(member));
}

/// A client of the extension comes back: it says hello, and asks for its token, for a resource and
/// for the outcome of a message that it may have sent before.
void Host::greet(u32 client, Choices& choices) {
  open(client);
  std::string text;
  append(text, {"{ \"type\": \"listen\", \"id\": 1, \"resources\": [], \"hello\": ",
                choices.one_of(sessions), " }"});
  give_frame(client, text);
  const u32 asks = choices.byte();
  const Bytes since = choices.one_of(positions);
  const Bytes epoch = choices.one_of(epochs);
  const auto ask = [&](Bytes type, std::initializer_list<Bytes> members) {
    text.clear();
    append(text, {"{ \"type\": \"", type, "\", \"id\": ", choices.one_of(ids), ", "});
    append(text, members);
    give_frame(client, text + " }");
  };
  if ((asks & 1) != 0)
    ask("listen", {"\"resources\": ", resource_list(choices), ", \"since\": ", since,
                   ", \"epoch\": ", epoch});
  if (joined_.empty()) return;
  const Member member = joined_[choices.below(static_cast<u32>(joined_.size()))];
  if ((asks & 2) != 0)
    ask("subscribe", {"\"token\": ", member.token, ", \"since\": ", since, ", \"epoch\": ", epoch});
  if ((asks & 4) != 0) ask("send", {"\"token\": ", member.token, ", ", member.scope});
  if ((asks & 8) != 0)
    ask("send", {"\"token\": ", member.token, ", ", member.scope, ", \"again\": true"});
  if ((asks & 16) != 0) ask("ping", {"\"x\": 1"});
}

/// A few messages in a row, so that they are queued for the app server; or one in the other
/// direction.
void Host::talk(Choices& choices) {
  if (joined_.empty()) return;
  const Member& member = joined_[choices.below(static_cast<u32>(joined_.size()))];
  const Bytes data = choices.one_of(values);
  std::string text;
  const u32 sends = choices.below(5);
  if (sends == 0) {
    append(text, {"{ ", member.scope, ", \"data\": ", data, " }"});
    give_http("POST", "/message", "Bearer secret", text, 0);
    return;
  }
  open(member.client);
  append(text, {"{ \"type\": \"send\", \"token\": ", member.token, ", ", member.scope,
                ", \"data\": ", data, " }"});
  for (u32 i = 0; i < sends; ++i) give_frame(member.client, text);
}

void Host::give_restore_token(Choices& choices) {
  is_tampered_ = true;
  const Bytes key = choices.raw();
  const u32 state = choices.below(4);
  const Millis expires_at = now_ + choices.byte();
  restore_token(key.substr(0, key.size() % 8), state, expires_at, choices.raw());
}

void Host::restore_token(Bytes key, u32 state, Millis expires_at, Bytes record) {
  // The host has one record per key and passes it to a hub once.
  if (!stored_.emplace(key, TokenRow{state, expires_at, std::string(record)}).second) return;
  give(input::RestoreToken{state, expires_at, Exact(key), Exact(record)});
}

void Host::restore_client(u32 client, Bytes record) {
  attached_[client] = record;
  give(input::RestoreClient{client, Exact(record)});
}

void Host::restart(u8 returning, Choices& choices, bool adds_row) {
  const u32 topics = counts().topics;
  start();
  orphans_.clear();
  const std::map<std::string, TokenRow> rows = std::move(stored_);
  const std::set<u32> sockets = std::move(open_);
  std::map<u32, std::string> records = std::move(attached_);
  stored_.clear();
  open_.clear();
  attached_.clear();
  for (const auto& [key, row] : rows) {
    restore_token(key, row.state, row.expires_at, row.record);
    FUZZ_CHECK(stored_.count(key) == 1);  // a hub can read what a hub has written or accepted
  }
  for (const u32 client : sockets) {
    if ((returning >> client & 1) == 0) continue;
    open_.insert(client);
    restore_client(client, records[client]);
  }
  // Rows that no hub wrote: damaged, or of another version.
  if (adds_row || choices.below(4) == 0) give_restore_token(choices);
  if (!adds_row && choices.below(4) == 0) {
    const u32 client = choices.below(client_count);
    if (open_.insert(client).second) {
      is_tampered_ = true;
      restore_client(client, choices.raw());
    }
  }
  give(input::Restored{});
  // If every client comes back, all subscriptions are restored.
  if (open_ == sockets && !is_tampered_ && engine_.empty()) FUZZ_CHECK(counts().topics == topics);
}

/// Changes nothing.
Verdict Host::ask(const input::HttpRequest& request) {
  const u64 before = hub_->state_hash();
  const Verdict verdict = hub_->admit(request);
  FUZZ_CHECK(hub_->state_hash() == before);
  FUZZ_CHECK(verdict.body_bytes_max ==
             (verdict.kind == VerdictKind::body ? config_.http_body_bytes_max : 0));
  FUZZ_CHECK(verdict.protocol.empty() || verdict.kind == VerdictKind::socket);
  return verdict;
}

/// Asks first, but passes the body in any case: what is not asked for must not matter.
void Host::give_http(Bytes method, Bytes path, Bytes authorization, Bytes body, u32 body_bytes,
                     Bytes headers) {
  is_answered_ = false;
  ++request_;
  const Exact exact[] = {Exact(method), Exact(path), Exact(authorization), Exact(body),
                         Exact(headers)};
  input::HttpRequest request{request_, body_bytes, exact[0], exact[1], exact[2], "", exact[4]};
  const Verdict verdict = ask(request);
  const input::HttpRequest asked = request;
  request.body = exact[3];
  give(request);
  FUZZ_CHECK(is_answered_ || !engine_.empty());
  if (!is_answered_) waiting_.insert(request_);
  if (verdict.kind == VerdictKind::answer) check_answer(asked);
}

/// Any hub of this configuration gives the same answer.
void Host::check_answer(const input::HttpRequest& request) {
  Hub fresh(config_);
  Actions actions;
  fresh.handle(now_, request, actions);
  FUZZ_CHECK(actions.size() == 1 && actions[0].tag == ActionTag::respond);
  FUZZ_CHECK(actions[0].respond.status == answer_status_ && actions[0].respond.body == answer_);
}

Host::Counts Host::counts() {
  give_http("GET", "/health", "Bearer other", "", 0);
  FUZZ_CHECK(is_answered_);
  const nlohmann::json health = nlohmann::json::parse(answer_, nullptr, false);
  FUZZ_CHECK(health.is_object());
  return {health["clients"], health["tokens"], health["topics"], health["forwards"]};
}

void Host::check_counts() {
  const Counts found = counts();
  FUZZ_CHECK(found.clients == open_.size());
  if (engine_.empty()) FUZZ_CHECK(found.tokens + orphans_.size() == stored_.size());
  FUZZ_CHECK(found.forwards == in_flight_.size());
}

void Host::leave_nothing() {
  check_counts();
  while (!open_.empty()) {
    const u32 client = *open_.begin();
    open_.erase(client);
    give(input::ClientClosed{client});
  }
  if (engine_.empty()) FUZZ_CHECK(counts().topics == 0);
  for (u32 shard = 0; shard < engine_.size(); ++shard) give_down(shard);
  // The timer alone must be enough: each one fires later than the one before.
  while (timer_at_ != 0) {
    now_ = std::max(now_, timer_at_);
    timer_at_ = 0;
    give(input::TimerFired{});
  }
  check_counts();
  FUZZ_CHECK(waiting_.empty());
  const Counts left = counts();
  FUZZ_CHECK(left.clients == 0 && left.tokens == 0 && left.topics == 0 && left.forwards == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices(Bytes(reinterpret_cast<const char*>(data), size));
  Host host(small_config(choices));
  while (!choices.is_empty()) {
    host.step(choices);
    host.after_step();
  }
  host.leave_nothing();
  return 0;
}
