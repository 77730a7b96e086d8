#include "engine/redis.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <openssl/rand.h>

#include "engine/scripts.hpp"

namespace sidekick::host {

namespace {

using namespace std::string_view_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds heartbeat_step{1000};
/// With so many heartbeats, one asks for the settings of the server: they can change.
constexpr u64 beats_per_info = 10;
/// A check that runs later than this does not count: this process itself was paused.
constexpr milliseconds late_max{1000};
constexpr milliseconds retry_first{50};
constexpr milliseconds retry_max{5000};
/// After so long without a failure, retries begin with short delays again.
constexpr std::chrono::seconds stable_time{10};
/// Space for the stamp and the members around a message. No node publishes a longer one.
constexpr u32 message_bytes_more = 1024;

Bytes text_of(const redisReply& reply) {
  return reply.str == nullptr ? Bytes() : Bytes(reply.str, reply.len);
}

/// The values of a script: byte strings.
std::vector<Bytes> values_of(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ARRAY) return {text_of(reply)};
  std::vector<Bytes> values;
  values.reserve(reply.elements);
  for (std::size_t i = 0; i < reply.elements; ++i) values.push_back(text_of(*reply.element[i]));
  return values;
}

/// A failure of the connection itself.
EngineReason connection_reason(const std::string& why) {
  if (why.starts_with("TLS: certificate"))
    return {"tls", why + " (--engine-ca FILE names a private CA)"};
  return {"connection", why};
}

/// 0 to 1.
double random_fraction() {
  u32 random = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof random);
  return random / 4294967295.0;
}

}  // namespace

Redis::Redis(Loop& loop, RedisOptions options, EngineTaker& taker, Log& log)
    : loop_(loop),
      options_(std::move(options)),
      taker_(taker),
      log_(log),
      inbox_(options_.prefix + "i:" + options_.node),
      topics_(options_.prefix + "c:"),
      timer_(loop.context().get_executor()) {
  if (options_.url.is_tls)
    tls_ = options_.ca_file ? client_tls("--engine-ca", *options_.ca_file) : client_tls();
}

// --- connecting ---

/// Everything is sent at once: the first refusal ends the attempt.
void Redis::connect() {
  open(calls_, &Redis::on_call_reply);
  open(messages_, &Redis::on_message_reply);
  const std::string database = std::to_string(options_.url.database);
  for (Side* side : {&calls_, &messages_}) send(*side, {"INFO"}, {What::info});
  if (options_.url.database != 0) send(calls_, {"SELECT", database}, {What::setting});
  send(calls_, {"CLIENT", "LIST", "TYPE", "pubsub"}, {What::clients});
  for (const EngineScript& script : engine_scripts())
    send(calls_, {"SCRIPT", "LOAD", script.source}, {What::script, 0, 1, script.name});
  send(messages_, {"SUBSCRIBE", inbox_}, {What::inbox});
  at(steady_clock::now() + options_.timeout, [this] { lost(overdue()); });
}

void Redis::open(Side& side, void (Redis::*on_reply)(const redisReply& reply)) {
  const EngineUrl& url = options_.url;
  side.link = std::make_shared<RedisLink>(loop_, lookups_);
  side.link->start(
      url.host, url.port, tls_.get(),
      [this, on_reply](const redisReply& reply) { (this->*on_reply)(reply); },
      [this](const std::string& why) { lost(connection_reason(why)); });
  if (!url.user.empty())
    send(side, {"AUTH", url.user, url.password}, {What::setting});
  else if (!url.password.empty())
    send(side, {"AUTH", url.password}, {What::setting});
  const std::string name = connection_name(options_.prefix, options_.node);
  send(side, {"CLIENT", "SETNAME", name}, {What::setting});
}

/// One step of connecting is done. After the last one, the first heartbeat tests both connections.
void Redis::on_confirmed() {
  if (is_up_ || beat_since_ || !calls_.awaited.empty() || !messages_.awaited.empty()) return;
  if (calls_.server != messages_.server) return lost(several_servers());
  beat();
}

/// Returns whether the server can be an engine. If not, the connections are lost.
bool Redis::take_info(Side& side, Bytes info) {
  const auto wrong = wrong_with_server(info);
  if (wrong) lost(*wrong);
  side.server = server_of(info);
  return !wrong;
}

// --- calls ---

void Redis::run(u32 call, Bytes script, std::span<const Bytes> args) {
  if (is_up_) run_script(script, args, {What::run, call});
}

void Redis::join(u32 call, std::span<const Bytes> topics) {
  if (is_up_) send_topics("SUBSCRIBE", topics, {What::join, call, topics.size()});
}

void Redis::leave(std::span<const Bytes> topics) {
  if (is_up_) send_topics("UNSUBSCRIBE", topics, {What::leave, 0, topics.size()});
}

void Redis::run_script(Bytes script, std::span<const Bytes> args, Awaited awaited) {
  const auto hash = hashes_.find(script);
  // A module of another version may name a script without a hash: the server returns an error.
  std::vector<Bytes> words{"EVALSHA", hash == hashes_.end() ? script : Bytes(hash->second), "1",
                           options_.prefix};
  words.insert(words.end(), args.begin(), args.end());
  send(calls_, words, awaited);
}

void Redis::send_topics(Bytes command, std::span<const Bytes> topics, Awaited awaited) {
  std::vector<std::string> channels;
  channels.reserve(topics.size());
  for (const Bytes topic : topics) channels.push_back(topics_ + std::string(topic));
  std::vector<Bytes> words{command};
  words.insert(words.end(), channels.begin(), channels.end());
  send(messages_, words, awaited);
}

void Redis::send(Side& side, std::span<const Bytes> words, Awaited awaited) {
  side.awaited.push_back(awaited);
  side.link->send(words);
}

// --- replies ---

void Redis::on_call_reply(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_ERROR) return on_refused(calls_, reply);
  if (calls_.awaited.empty()) return lost({"connection", "the server sent an unexpected reply"});
  const Awaited awaited = calls_.awaited.front();
  calls_.awaited.pop_front();
  if (awaited.what == What::run) return taker_.on_engine_answer(awaited.call, 0, values_of(reply));
  if (awaited.what == What::info && !take_info(calls_, text_of(reply))) return;
  if (awaited.what == What::clients) tell_others(text_of(reply));
  if (awaited.what == What::script)
    hashes_[std::string(awaited.script)] = std::string(text_of(reply));
  on_confirmed();
}

void Redis::on_message_reply(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_ERROR) return on_refused(messages_, reply);
  const bool is_push = reply.type == REDIS_REPLY_ARRAY && reply.elements == 3;
  if (is_push && text_of(*reply.element[0]) == "message")
    return on_message(text_of(*reply.element[1]), text_of(*reply.element[2]));
  if (messages_.awaited.empty()) return lost({"connection", "the server sent an unexpected reply"});
  if (--messages_.awaited.front().left > 0) return;
  const Awaited awaited = messages_.awaited.front();
  messages_.awaited.pop_front();
  if (awaited.what == What::join) return taker_.on_engine_answer(awaited.call, 0, {});
  if (awaited.what == What::info && !take_info(messages_, text_of(reply))) return;
  on_confirmed();
}

void Redis::on_refused(Side& side, const redisReply& error) {
  const Bytes text = without_words(text_of(error));
  const What what = side.awaited.empty() ? What::setting : side.awaited.front().what;
  const bool is_call = what == What::run || what == What::join;
  if (!is_call || is_connection_useless(text)) return lost(reason_of(text, options_.url));
  const u32 call = side.awaited.front().call;
  side.awaited.pop_front();
  taker_.on_engine_answer(call, 1, {&text, 1});
}

void Redis::on_message(Bytes channel, Bytes body) {
  const bool is_inbox = channel == inbox_;
  const std::string beat = "beat " + std::to_string(beat_) + " ";
  if (is_inbox && beat_since_ && body.starts_with(beat)) {
    beat_since_.reset();
    if (!is_up_) {
      is_up_ = true;
      up_since_ = steady_clock::now();
      why_down_ = {};
      log_.info("the engine is up", {{"engine", options_.url.shown}, {"keys", options_.prefix}});
      tick_later();
      return taker_.on_engine_up();
    }
  }
  if (!is_up_ || body.size() > options_.message_bytes_max + message_bytes_more) return;
  if (is_inbox) return taker_.on_engine_message({}, body);
  if (channel.starts_with(topics_)) taker_.on_engine_message(channel.substr(topics_.size()), body);
}

/// Nodes that were meant to share an engine, but have another prefix, must not go unnoticed.
void Redis::tell_others(Bytes clients) {
  for (const std::string& other : other_sidekicks(clients, options_.prefix)) {
    if (!told_.insert(other).second) continue;
    log_.warn_each("other Sidekicks use this Redis server and share nothing with this one",
                   {{"engine", options_.url.shown}, {"keys", options_.prefix}, {"others", other}});
  }
}

// --- the heartbeat ---

void Redis::beat() {
  beat_since_ = steady_clock::now();
  const std::string lease = std::to_string(options_.lease_ms);
  const std::string number = std::to_string(++beat_);
  const Bytes args[] = {options_.node, lease, number};
  run_script("beat", args, {What::beat});
  if (beat_ % beats_per_info == 0) send(calls_, {"INFO"}, {What::info});
}

void Redis::tick_later() {
  const Loop::Time due = steady_clock::now() + heartbeat_step;
  at(due,
     [this, due] { on_tick(std::chrono::duration_cast<milliseconds>(steady_clock::now() - due)); });
}

void Redis::on_tick(Milliseconds late) {
  if (late <= late_max && is_overdue()) return lost(overdue());
  if (!beat_since_) beat();
  tick_later();
}

EngineReason Redis::overdue() const {
  return {"timeout",
          "no answer for " + std::to_string(options_.timeout.count()) + " ms (engine_timeout_ms)"};
}

bool Redis::is_overdue() const {
  const Loop::Time limit = steady_clock::now() - options_.timeout;
  const auto is_late = [&](const Side& side) {
    return !side.awaited.empty() && side.awaited.front().since <= limit;
  };
  return is_late(calls_) || is_late(messages_) || (beat_since_ && *beat_since_ <= limit);
}

/// Replaces the timer, even if it has expired and its handler is queued.
template <class Then>
void Redis::at(Loop::Time time, Then then) {
  timer_.expires_at(time);
  timer_.async_wait([this, number = ++timer_number_, then](const ErrorCode& stopped) {
    if (!stopped && number == timer_number_) then();
  });
}

// --- the end of a connection ---

/// Both connections end together: everything under way on either of them counts as lost.
void Redis::lost(const EngineReason& why) {
  const bool was_up = is_up_;
  drop();
  if (std::exchange(why_down_, why.code) != why.code) tell_down(was_up, why);
  retry();
  if (was_up) taker_.on_engine_down();
}

/// Logs each cause once, not at each attempt.
void Redis::tell_down(bool was_up, const EngineReason& why) {
  log_.warn_each(
      was_up ? "the engine is down; reconnecting" : "the engine is unavailable; retrying",
      {{"engine", options_.url.shown},
       {"keys", options_.prefix},
       {"code", why.code},
       {"reason", why.text}});
}

void Redis::renew() {
  drop();
  retry();
}

void Redis::end() { drop(); }

void Redis::drop() {
  if (is_up_ && steady_clock::now() - up_since_ >= stable_time) failures_ = 0;
  timer_.cancel();
  ++timer_number_;
  for (Side* side : {&calls_, &messages_}) {
    if (side->link != nullptr) side->link->close();
    side->awaited.clear();
  }
  beat_since_.reset();
  is_up_ = false;
}

/// Random, so that nodes that lost the engine together do not come back together.
void Redis::retry() {
  const milliseconds longest = std::min(retry_max, retry_first * (1u << std::min(failures_, 7u)));
  ++failures_;
  const auto wait = std::chrono::duration_cast<milliseconds>(longest * random_fraction());
  at(steady_clock::now() + wait, [this] { connect(); });
}

}  // namespace sidekick::host
