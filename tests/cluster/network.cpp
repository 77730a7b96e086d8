#include "network.hpp"

#include <algorithm>
#include <cstdio>

#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::cluster {

namespace {

u64 digest_of(u64 digest, const Actions& actions) {
  std::string text;
  for (const Action& action : actions) trace::append_action(text, action);
  for (const char c : text) digest = (digest ^ static_cast<u8>(c)) * 0x100000001b3;
  return digest;
}

bool is_for_peer(Bytes script) {
  return script == "message" || script == "update" || script == "register" || script == "claim" ||
         script == "erase";
}

std::vector<Bytes> views_of(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

}  // namespace

Recorded::Recorded(Millis at, const Input& from) : now(at), input(from) {
  char* fields = fields_of(input);
  for (const Field* field = find_input_shape(static_cast<u32>(input.tag))->fields;
       field->kind != FieldKind::end; ++field) {
    if (field->kind == FieldKind::bytes) {
      Bytes& bytes = const_cast<Bytes&>(field_at<Bytes>(fields, *field));
      bytes = texts.emplace_back(bytes);
    } else if (field->kind == FieldKind::list) {
      auto& list =
          const_cast<std::span<const Bytes>&>(field_at<std::span<const Bytes>>(fields, *field));
      for (const Bytes element : list) views.push_back(texts.emplace_back(element));
      list = views;
    }
  }
}

Network::Network(u64 seed, u32 node_count) : dice(seed), nodes(node_count), shard("run-1") {
  for (u32 i = 0; i < node_count; ++i) nodes[i].index = i;
}

void Network::start(Node& node) {
  const u32 index = node.index;
  node = Node();
  node.index = index;
  std::string name = compose({Digits(++names_)});
  node.config.node = std::string(16 - name.size(), '0') + name;
  node.config.secrets = {"s"};
  node.config.engine_shards = 1;
  node.config.resync_spread_ms = 500;
  node.config.topic_linger_ms = dice.one_of<u32>({0, 500, 2000});
  node.config.token_resume_ms = node.config.token_ttl_ms = 3600 * 1000;
  node.config.history_messages_max = dice.one_of<u32>({history_min, 64, 64});
  node.config.engine_calls_max = dice.one_of<u32>({16, 4096, 4096});
  node.config.engine_buffer_bytes_max =
      dice.one_of<u32>({1u << 20, 16u << 20});  // 1 history, or 16
  node.hub = std::make_unique<Hub>(node.config);
  note_trouble(node);
  give(node, input::Begin{names_ << 33});
  give(node, input::Restored{});
}

void Network::give(Node& node, const Input& input) {
  ++inputs;
  node.recording.emplace_back(now, input);
  if (input.tag == InputTag::timer_fired) node.timer_at = 0;
  // An action may cause further inputs.
  auto actions = std::make_unique<Actions>();
  if (is_verbose) {
    std::string line;
    trace::append_input(line, *node.hub, now, input);
    std::printf("%u %s", node.index, line.c_str());
  }
  node.hub->handle(now, input, *actions);
  node.digest = node.recording.back().digest = digest_of(node.digest, *actions);
  digest = (digest ^ node.digest) * 0x9E3779B97F4A7C15;
  const auto owned = [](std::span<const Bytes> list) {
    return std::vector<std::string>(list.begin(), list.end());
  };
  for (const Action& action : *actions) {
    if (is_verbose) {
      std::string line;
      trace::append_action(line, action);
      std::printf("%u     %s", node.index, line.c_str());
    }
    switch (action.tag) {
      case ActionTag::set_timer:
        node.timer_at = action.set_timer.at_ms;
        break;
      case ActionTag::engine_run:
        ++node.calls;
        if (is_for_peer(action.engine_run.script))
          node.calls_for_peers.insert(action.engine_run.call);
        node.commands.push_back({action.engine_run.call, Command::Kind::run,
                                 std::string(action.engine_run.script),
                                 owned(action.engine_run.args)});
        break;
      case ActionTag::engine_join:
        ++node.calls;
        node.commands.push_back(
            {action.engine_join.call, Command::Kind::join, "", owned(action.engine_join.topics)});
        break;
      case ActionTag::engine_leave:
        node.commands.push_back({0, Command::Kind::leave, "", owned(action.engine_leave.topics)});
        break;
      default:
        on_action(node, action);
    }
  }
}

void Network::note_trouble(Node& node) {
  node.trouble_began_at = unsettled_since(node);
  node.trouble_at = now;
}

Millis Network::unsettled_since(const Node& node) const {
  constexpr Millis settled_ms = 15'000;
  return now - node.trouble_at > settled_ms ? now : node.trouble_began_at;
}

void Network::connect(Node& node) {
  node.is_up = true;
  shard.attach(node.config.node);
  const std::string lease = compose({Digits(node.config.engine_lease_ms)});
  const Bytes args[] = {node.config.node, lease, "1"};
  shard.run(now * 1000, "beat", args);
  collect();
  node.messages.clear();  // the host waits for this beat itself
  node.beat_sent = 1;
  node.beat_at = now;
  note_trouble(node);
  give(node, input::EngineUp{0, 0});
}

void Network::lose_link(Node& node) {
  if (!node.is_up) return;
  node.is_up = false;
  note_trouble(node);
  node.up_at = now + dice.below(5000);
  for (Command& command : node.commands) {
    // A command that was sent may be executed; those behind it only if it is.
    if (command.kind != Command::Kind::run || dice.chance(500)) break;
    late_.push_back(std::move(command));
  }
  node.commands.clear();
  node.answers.clear();
  node.messages.clear();
  node.calls = 0;
  node.calls_for_peers.clear();
  node.are_commands_frozen = node.are_answers_frozen = node.are_messages_frozen = false;
  shard.detach(node.config.node);
  give(node, input::EngineDown{0});
}

void Network::crash(Node& node) {
  if (node.hub != nullptr) shard.detach(node.config.node);
  start(node);
  node.up_at = now + dice.below(1000);
}

void Network::cut_all() {
  for (Node& node : nodes) lose_link(node);
}

void Network::restart_engine() {
  const engine::Shard copy(shard);
  shard.restart(compose({"run-", Digits(++servers_)}), copy);
  cut_all();
  late_.clear();
}

void Network::restart_engine(const engine::Shard* old) {
  const std::string server = compose({"run-", Digits(++servers_)});
  if (old == nullptr)
    shard.restart(server);
  else
    shard.restart(server, *old);
  cut_all();
  late_.clear();
}

void Network::heal() {
  is_full = false;
  shard.set_full(false);
  for (Node& node : nodes) {
    node.are_commands_frozen = node.are_answers_frozen = node.are_messages_frozen = false;
    if (!node.is_up) node.up_at = std::min(node.up_at, now + 100);
  }
}

void Network::beat(Node& node) {
  node.beat_at = now;
  node.commands.push_back({0,
                           Command::Kind::run,
                           "beat",
                           {node.config.node, compose({Digits(node.config.engine_lease_ms)}),
                            compose({Digits(++node.beat_sent)})}});
}

void Network::execute(Node* node, const Command& command) {
  const std::vector<Bytes> args = views_of(command.args);
  engine::Shard::Answer answer;
  ++runs;
  switch (command.kind) {
    case Command::Kind::run:
      answer = shard.run(now * 1000, command.script, args);
      if (answer.status == 0) on_run(command, answer);
      break;
    case Command::Kind::join:
      shard.join(node->config.node, args);
      break;
    case Command::Kind::leave:
      shard.leave(node->config.node, args);
      break;
  }
  if (is_verbose) {
    std::string line = command.script.empty() ? "join or leave" : command.script;
    for (const std::string& arg : command.args) line += " " + arg;
    line += " ->";
    for (const std::string& value : answer.values) line += " " + value;
    std::printf("engine%s: %s\n", node == nullptr ? ", late" : "", line.c_str());
  }
  collect();
  if (node != nullptr && command.call != 0)
    node->answers.push_back({command.call, runs, command, std::move(answer)});
}

void Network::collect() {
  for (const engine::Shard::Publication& publication : shard.take_publications()) {
    const Bytes body = publication.body;
    for (const std::string& receiver : publication.nodes) {
      if (publication.topic.empty() && body.starts_with("taken "))
        on_taken(receiver, body.substr(body.rfind(' ') + 1));
      for (Node& node : nodes)
        if (node.is_up && node.config.node == receiver) node.messages.push_back(publication);
    }
  }
}

void Network::ask_for(Bytes token) {
  const Bytes args[] = {token, "ffffffffffffffff", "somebody else", "1000"};
  shard.run(now * 1000, "claim", args);
  collect();
}

bool Network::move_one() {
  struct Place {
    Node* node;
    u32 queue;
  };
  std::vector<Place> places;
  for (Node& node : nodes) {
    if (!node.commands.empty() && !node.are_commands_frozen) places.push_back({&node, 0});
    if (!node.answers.empty() && !node.are_answers_frozen) places.push_back({&node, 1});
    if (!node.messages.empty() && !node.are_messages_frozen) places.push_back({&node, 2});
  }
  if (!late_.empty()) places.push_back({nullptr, 0});
  if (places.empty()) return false;
  const Place place = places[dice.below(static_cast<u32>(places.size()))];
  if (place.node == nullptr) {
    const Command command = std::move(late_.front());
    late_.pop_front();
    if (command.script == "claim") late_tokens_.insert(command.args[0]);
    for (std::size_t i = 2; command.script == "reclaim" && i < command.args.size(); i += 3)
      late_tokens_.insert(command.args[i]);
    execute(nullptr, command);
    return true;
  }
  Node& node = *place.node;
  if (place.queue == 0) {
    const Command command = std::move(node.commands.front());
    node.commands.pop_front();
    execute(&node, command);
  } else if (place.queue == 1) {
    const Answer next = std::move(node.answers.front());
    node.answers.pop_front();
    --node.calls;
    node.calls_for_peers.erase(next.call);
    const std::vector<Bytes> values = views_of(next.answer.values);
    on_answer(node.config.node, next);
    give(node, input::EngineAnswer{next.call, next.answer.status, values});
  } else {
    const engine::Shard::Publication next = std::move(node.messages.front());
    node.messages.pop_front();
    give(node, input::EngineMessage{0, next.topic, next.body});
  }
  return true;
}

void Network::pass_time(u32 ms) {
  now += ms;
  for (Node& node : nodes) {
    if (node.hub == nullptr) crash(node);
    const bool is_frozen =
        node.are_commands_frozen || node.are_answers_frozen || node.are_messages_frozen;
    if (is_frozen) note_trouble(node);
    if (node.is_up && now - node.beat_at >= 1000) beat(node);
    // The host misses an answer, or its heartbeat.
    if (node.is_up && is_frozen && now - node.frozen_at > node.config.engine_timeout_ms)
      lose_link(node);
    if (!node.is_up && now >= node.up_at) connect(node);
    if (node.timer_at != 0 && node.timer_at <= now && !dice.chance(200))
      give(node, input::TimerFired{});
  }
}

std::string Network::check_recordings() {
  for (Node& node : nodes) {
    Hub again(node.config);
    u64 replayed = 0;
    std::size_t count = 0;
    for (const Recorded& it : node.recording) {
      again.handle(it.now, it.input, actions_);
      replayed = digest_of(replayed, actions_);
      ++count;
      if (replayed == it.digest) continue;
      std::string text;
      trace::append_input(text, again, it.now, it.input);
      for (const Action& action : actions_) trace::append_action(text, action);
      return compose({"node ", Digits(node.index), " does something else at input ", Digits(count),
                      " of its recording: ", text});
    }
    if (again.state_hash() != node.hub->state_hash())
      return compose({"node ", Digits(node.index), " has another state after its recording"});
  }
  return {};
}

}  // namespace sidekick::cluster
