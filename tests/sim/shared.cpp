#include "shared.hpp"

#include <algorithm>

#include "script.hpp"
#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::sim {

namespace {

constexpr char node[] = "00000000000000aa";

}  // namespace

void share(Swarm& swarm, u32 engine_shards) {
  swarm.engine_shards = engine_shards;
  // A hub with an engine keeps nothing in a store.
  swarm.op_weight[static_cast<u32>(OpKind::restart)] = 0;
  swarm.op_weight[static_cast<u32>(OpKind::twin)] = 0;
  swarm.cut = swarm.fail = 0;
  swarm.drain = 0;  // ends with a restart
  // Stamps are the engine's, whatever the clock of the hub does.
  swarm.clock_step = 0;
  const Config usual;
  const bool are_lasting = swarm.seed % 3 != 0;
  for (Config& config : swarm.configs) {
    // Free tokens and topics that linger count elsewhere.
    config.tokens_max = usual.tokens_max;
    config.token_store_bytes_max = usual.token_store_bytes_max;
    config.topic_store_bytes_max = usual.topic_store_bytes_max;
    // Frames with positions have another size.
    config.frame_bytes_max = usual.frame_bytes_max;
    // With 0, a hub alone keeps a message until the millisecond is over, and the engine none.
    config.history_ms = std::max(config.history_ms, 1u);
    config.token_ttl_ms = std::max(config.token_ttl_ms, 2u);
    if (config.token_resume_ms != 0) config.token_resume_ms = std::max(config.token_resume_ms, 2u);
    if (are_lasting) {
      // A token is given back when the last of its messages is answered, not when its client
      // leaves; and one that was claimed in vain is, too.
      config.token_ttl_ms = config.token_resume_ms = 604'800'000;
    } else {
      config.tokens_per_client_max = usual.tokens_per_client_max;
    }
  }
  // Between two lives they expire, at different times.
  if (are_lasting) swarm.is_long = false;
  if (!are_lasting) swarm.frame_weight[static_cast<u32>(Verb::send)] = 0;
}

void SharedHub::Seen::add(const Action& action) {
  switch (action.tag) {
    case ActionTag::send:
      for (const u32 client : action.send.clients)
        clients[client].push_back(compose({name_of(action.send.code), " ", action.send.text}));
      return;
    case ActionTag::close:
      clients[action.close.client].push_back(
          compose({"close ", Digits(action.close.code), " ", name_of(action.close.why), " ",
                   action.close.reason}));
      return;
    case ActionTag::respond: {
      const action::Respond& it = action.respond;
      requests[it.request].push_back(
          compose({Digits(it.status), " ", name_of(it.code), " ", Digits(it.delay_ms), " ",
                   it.content_type, " ", it.header, " ", it.body}));
      return;
    }
    case ActionTag::forward:
      forwards.push_back(compose({Digits(action.forward.timeout_ms), " ", action.forward.body}));
      ids.push_back(action.forward.forward);
      return;
    case ActionTag::cancel_forward:
      cancelled.push_back(action.cancel_forward.forward);
      return;
    case ActionTag::put_token:
    case ActionTag::touch_token:
    case ActionTag::erase_token:
    case ActionTag::attach_client:
    case ActionTag::set_timer:
    case ActionTag::engine_run:
    case ActionTag::engine_join:
    case ActionTag::engine_leave:
      return;  // no peer sees it
  }
  trap();
}

SharedHub::SharedHub(const Swarm& swarm, Millis now, std::string* trace)
    : config_(swarm.configs[0]),
      trace_(trace),
      dice_(swarm.seed ^ 0x736861726564),
      now_(now),
      clock_(now) {
  config_.node = node;
  config_.engine_shards = swarm.engine_shards;
  config_.topic_linger_ms = dice_.one_of<u32>({0, 2000});
  // A change stamped in the first microsecond of the span counts, too.
  if (config_.listen_lookback_ms != 0) ++config_.listen_lookback_ms;
  // In the engine, as in Redis, a token is there until its last millisecond is over.
  config_.token_ttl_ms -= 1;
  if (config_.token_resume_ms != 0) config_.token_resume_ms -= 1;
  std::string epoch;
  append_epoch(epoch, {swarm.epoch, 1});
  for (u32 shard = 0; shard < swarm.engine_shards; ++shard) {
    shards_.emplace_back("run-1");
    const Bytes args[] = {"00000000000000bb", epoch, "", "", "0"};
    shards_.back().run(clock_ * 1000, "sync", args);
    // Their clocks part only now, or positions would lie below where the stamps of one began.
    ahead_ms_.push_back(shard == 0 ? 0 : dice_.one_of<Millis>({0, 1, 700, 5000}));
    shards_.back().attach(node);
    epoch += '0';  // each shard has one of its own
  }
  hub_ = std::make_unique<Hub>(config_);
  if (trace_ != nullptr) {
    trace::append_header(*trace_, config_);
    *trace_ += '\n';
  }
  give(input::Begin{swarm.epoch});
  give(input::Restored{});
  beat();
  for (u32 shard = 0; shard < swarm.engine_shards; ++shard) give(input::EngineUp{shard, 0});
  settle();
}

void SharedHub::take(Millis now, const Input& input) {
  seen = {};
  last_topic_.clear();
  now_ = now;
  clock_ = std::max(clock_, now);
  // The host sends a heartbeat each second; its message may come later.
  if (clock_ - beat_at_ >= 1000 || dice_.chance(300)) beat();
  give(input);
  settle();
}

void SharedHub::beat() {
  beat_at_ = clock_;
  const std::string lease = compose({Digits(config_.engine_lease_ms)});
  const Bytes args[] = {node, lease, "1"};
  for (u32 shard = 0; shard < shards_.size(); ++shard) run(shard, "beat", args);
  collect();
}

engine::Shard::Answer SharedHub::run(u32 shard, Bytes script, std::span<const Bytes> args) {
  return shards_[shard].run((clock_ + ahead_ms_[shard]) * 1000, script, args);
}

void SharedHub::give(const Input& input) {
  ++inputs_;
  if (trace_ != nullptr) trace::append_input(*trace_, *hub_, now_, input);
  hub_->handle(now_, input, actions_);
  for (const Action& action : actions_) {
    if (trace_ != nullptr) trace::append_action(*trace_, action);
    seen.add(action);
    perform(action);
  }
}

void SharedHub::perform(const Action& action) {
  if (action.tag == ActionTag::engine_run) {
    const action::EngineRun& it = action.engine_run;
    engine::Shard::Answer answer = run(it.shard, it.script, it.args);
    note(it.script, it.args, answer);
    answers_.push_back({it.call, std::move(answer)});
  } else if (action.tag == ActionTag::engine_join) {
    const action::EngineJoin& it = action.engine_join;
    shards_[it.shard].join(node, it.topics);
    answers_.push_back({it.call, {}});
  } else if (action.tag == ActionTag::engine_leave) {
    shards_[action.engine_leave.shard].leave(node, action.engine_leave.topics);
  }
  collect();
}

void SharedHub::note(Bytes script, std::span<const Bytes> args,
                     const engine::Shard::Answer& answer) {
  const auto at = [&] { return std::stoull(answer.values[0]); };
  if (script == "message") {
    last_topic_ = args[0];
    changes_[std::string(args[0])].push_back({at(), ++change_count_, std::string(args[1])});
  } else if (script == "update") {
    ++change_count_;
    for (std::size_t i = 1; i < args.size(); ++i)
      changes_[std::string(args[i])] = {{at() - (args.size() - 1) + i, change_count_, {}}};
  } else if (script == "release") {
    for (std::size_t i = 2; i < args.size(); i += 2) forgotten_[std::string(args[i])] = true;
  } else if (script == "claim" && answer.values[0] == "ok") {
    registered_[std::string(args[0])] = std::stoull(answer.values[2]);
  } else if (script == "register" && answer.values[0] == "ok") {
    forgotten_.erase(std::string(args[0]));
  }
}

void SharedHub::collect() {
  for (u32 shard = 0; shard < shards_.size(); ++shard) {
    for (engine::Shard::Publication& publication : shards_[shard].take_publications())
      messages_.push_back({shard, std::move(publication)});
  }
}

/// Answers and messages have no common order.
void SharedHub::settle() {
  while (!answers_.empty() || !messages_.empty()) {
    const bool is_answer = messages_.empty() || (!answers_.empty() && dice_.chance(500));
    if (is_answer) {
      const Answer next = std::move(answers_.front());
      answers_.pop_front();
      const std::vector<Bytes> values(next.answer.values.begin(), next.answer.values.end());
      give(input::EngineAnswer{next.call, next.answer.status, values});
    } else {
      const Message next = std::move(messages_.front());
      messages_.pop_front();
      give(input::EngineMessage{next.shard, next.publication.topic, next.publication.body});
    }
  }
}

std::vector<engine::Shard::Hold> SharedHub::holds() const {
  std::vector<engine::Shard::Hold> all;
  for (const engine::Shard& shard : shards_) {
    for (const engine::Shard::Hold& hold : shard.holds()) all.push_back(hold);
  }
  return all;
}

std::vector<std::string> SharedHub::joined() const {
  std::vector<std::string> all;
  for (const engine::Shard& shard : shards_) {
    for (const std::string& topic : shard.joined(node)) all.push_back(topic);
  }
  return all;
}

}  // namespace sidekick::sim
