#include "world.hpp"

#include <algorithm>
#include <cstdio>

#include "sidekick/text.hpp"

namespace sidekick::cluster {

std::string World::channel_name(u32 channel) { return compose({"c", Digits(channel)}); }
std::string World::topic_name(u32 channel) { return compose({"channel:c", Digits(channel), "/"}); }

World::World(u64 seed, u32 steps, const std::vector<Op>* script)
    : network_(seed, 2 + static_cast<u32>(seed % 3)),
      dice_(network_.dice),
      steps_(steps),
      script_(script) {
  network_.on_action = [this](Node& node, const Action& action) { on_action(node, action); };
  network_.on_run = [this](const Command& command, const engine::Shard::Answer& answer) {
    on_run(command, answer);
  };
  network_.on_answer = [this](Bytes node, const Answer& answer) { on_answer(node, answer); };
  network_.on_taken = [this](Bytes node, Bytes token) { on_taken(node, token); };
  fault_rate_ = dice_.one_of<u32>({0, 3, 15, 40});
  channels_ = dice_.between(1, 3);
  tokens_ = dice_.between(2, 9);
  resources_ = dice_.between(1, 8);
  const u32 count = dice_.between(2, 7);
  for (u32 i = 0; i < count; ++i) {
    Client& client = clients_.emplace_back();
    client.index = i;
    if (i % 4 != 3) client.session = compose({"session-", Digits(i), "-0123456789"});
  }
}

bool World::fail(Checker checker, const std::string& what) {
  if (!failure_) failure_ = Failure{checker, step_, what};
  return false;
}

std::optional<Failure> World::run() {
  network_.pass_time(0);
  calm(1000);
  for (step_ = 0; step_ < steps_ && !failure_; ++step_) {
    if (begin_op()) step();
    if (step_ % 500 == 499 && !failure_ && begin_op()) {
      calm(20'000);
      check_calm();
    }
  }
  if (!failure_) check_end();
  if (!failure_) {
    const std::string wrong = network_.check_recordings();
    if (!wrong.empty()) fail(Checker::alone, wrong);
  }
  return failure_;
}

/// Returns whether to perform the next operation.
bool World::begin_op() {
  const u32 number = op_count_++;
  if (script_ != nullptr) {
    const std::size_t next = ops_.size();
    if (next == script_->size() || (*script_)[next].number != number) return false;
    dice_ = (*script_)[next].dice;
  }
  ops_.push_back({number, dice_});
  if (network_.is_verbose) std::printf("operation %u\n", number);
  return true;
}

void World::step() {
  const u32 what = dice_.below(100);
  if (what < 50)
    network_.move_one();
  else if (what < 60)
    network_.pass_time(dice_.chance(30) ? dice_.below(3000) : dice_.below(40));
  else if (what < 66)
    step_app_server();
  else if (dice_.chance(fault_rate_))
    step_fault();
  else
    step_client();
  for (const Node& node : network_.nodes) {
    if (node.calls_for_peers.size() > node.config.engine_calls_max)
      fail(Checker::bounded, compose({"calls of node ", Digits(node.index)}));
  }
}

void World::step_fault() {
  Node& node = network_.nodes[dice_.below(static_cast<u32>(network_.nodes.size()))];
  switch (dice_.below(14)) {
    case 0:
    case 1:
    case 2:
      return network_.lose_link(node);
    case 3:
    case 4:
    case 5: {
      if (!node.is_up) return;
      const u32 which = dice_.between(1, 7);
      node.are_commands_frozen = (which & 1) != 0;
      node.are_answers_frozen = (which & 2) != 0;
      node.are_messages_frozen = (which & 4) != 0;
      node.frozen_at = network_.now;
      network_.note_trouble(node);
      return;
    }
    case 6:
    case 7:
      return network_.heal();
    case 8:
      return crash(node);
    case 9:
      for (Node& one : network_.nodes) network_.note_trouble(one);
      return network_.restart_engine();
    case 10:
      old_ = std::make_unique<engine::Shard>(network_.shard);
      old_messages_ = messages_;
      return;
    case 11:
      if (old_ == nullptr) return;
      lose_data(old_messages_);
      return network_.restart_engine(old_.get());
    case 12:
      lose_data({});
      return network_.restart_engine(nullptr);
    case 13:
      network_.is_full = !network_.is_full;
      return network_.shard.set_full(network_.is_full);
  }
}

/// The engine has only these messages now.
void World::lose_data(const std::map<u32, std::vector<Stamped>>& kept) {
  data_lost_at_ = network_.now;
  for (auto& [token, turn] : turns_) ++turn.first;
  const auto before = std::exchange(messages_, kept);
  for (u32 channel = 0; channel < channels_; ++channel) {
    const std::vector<Stamped>& all = messages_[channel];
    for (Client& client : clients_) {
      View& view = client.views[channel];
      const auto is_known = [&](const Stamped& it) { return it.at <= view.at; };
      const auto is_same = [](const Stamped& a, const Stamped& b) { return a.serial == b.serial; };
      if (view.is_exact && !client.session.empty() && before.contains(channel) &&
          std::count_if(all.begin(), all.end(), is_known) ==
              std::count_if(before.at(channel).begin(), before.at(channel).end(), is_known))
        continue;  // nothing that it has is lost
      view.is_exact = false;
      // Only a client that says hello is told that messages are lost.
      const bool is_prefix =
          before.contains(channel) && all.size() <= before.at(channel).size() &&
          std::equal(all.begin(), all.end(), before.at(channel).begin(), is_same);
      if (client.session.empty())
        view.serial_at_start = number_max;
      else if (!is_prefix || view.serial_at_start > all.size())
        view.serial_at_start = all.size();
    }
  }
}

void World::crash(Node& node) {
  for (Client& client : clients_)
    if (client.node == node.index) on_closed(client);
  std::erase_if(flights_, [&](const Flight& it) { return it.node == node.index; });
  std::erase_if(posts_, [&](const auto& it) { return it.second.node == node.index; });
  std::erase_if(lost_sockets_, [&](const auto& it) { return it.first == node.index; });
  network_.crash(node);
}

void World::step_app_server() {
  const u32 node = dice_.below(static_cast<u32>(network_.nodes.size()));
  switch (dice_.below(5)) {
    case 0:
    case 1:
      if (!flights_.empty()) {
        const u32 at = dice_.below(static_cast<u32>(flights_.size()));
        const Flight flight = flights_[at];
        flights_.erase(flights_.begin() + at);
        network_.give(network_.nodes[flight.node], input::ForwardDone{flight.id, 200, "", 0});
      }
      return;
    case 2: {
      const u32 token = dice_.below(tokens_);
      return post(node, "/connection",
                  compose({"{ \"token\": \"t", Digits(token), "\", \"channel\": \"",
                           channel_name(channel_of(token)), "\", \"params\": {} }"}),
                  'c', token);
    }
    case 3: {
      const u32 channel = dice_.below(channels_);
      return post(node, "/message",
                  compose({"{ \"channel\": \"", channel_name(channel),
                           "\", \"params\": {}, \"data\": ", Digits(++serial_), " }"}),
                  'm', channel);
    }
    case 4: {
      const u32 resource = dice_.below(resources_);
      const u32 count = dice_.chance(30) ? 20 : 1;
      for (u32 i = 0; i < count; ++i)
        post(node, "/resources", compose({"{ \"resources\": [\"r", Digits(resource), "\"] }"}), 'r',
             resource);
      return;
    }
  }
}

void World::post(u32 node, Bytes path, const std::string& body, char kind, u32 what) {
  posts_[++requests_] = {node, kind, what, network_.now};
  network_.give(network_.nodes[node], input::HttpRequest{requests_, static_cast<u32>(body.size()),
                                                         "POST", path, "Bearer s", body, ""});
}

void World::open(Client& client) {
  client.node = dice_.below(static_cast<u32>(network_.nodes.size()));
  client.handle = ++handles_ * handle_step + client.index;
  client.is_welcome = client.session.empty();
  // The node may pass on the tokens of the socket before, if that is still open.
  if (!client.session.empty()) client.unsure = client.left;
  network_.give(network_.nodes[client.node], input::ClientOpened{client.handle});
  if (!client.session.empty()) ask(client, 'h', 0, false);
}

/// is_noticed: its node learns of it at once; otherwise later.
void World::close(Client& client, bool is_noticed) {
  const u32 node = client.node;
  const u32 handle = client.handle;
  if (!is_noticed) {
    client.left = client.unsure;
    for (const auto& [token, since] : client.tokens) client.left.insert(token);
  }
  for (const Client::Asked& asked : client.asked)
    if (!is_noticed && asked.kind == 's') client.left.insert(asked.what);
  on_closed(client);
  if (is_noticed)
    network_.give(network_.nodes[node], input::ClientClosed{handle});
  else
    lost_sockets_.emplace_back(node, handle);
}

void World::on_closed(Client& client) {
  client.node = nobody;
  client.is_welcome = client.is_confused = false;
  client.asked.clear();
  client.tokens.clear();
  client.unsure.clear();
  client.listens.clear();
  for (auto& [channel, view] : client.views) view.is_there = false;
}

void World::step_client() {
  if (!lost_sockets_.empty() && dice_.chance(100)) {
    const auto [node, handle] = lost_sockets_.back();
    lost_sockets_.pop_back();
    network_.give(network_.nodes[node], input::ClientClosed{handle});
    return;
  }
  Client& client = clients_[dice_.below(static_cast<u32>(clients_.size()))];
  if (client.node == nobody) return open(client);
  if (dice_.chance(30)) return close(client, dice_.chance(600));
  if (!client.is_welcome || client.asked.size() > 5) return;
  const u32 token =
      dice_.chance(800)
          ? client.index + static_cast<u32>(clients_.size()) *
                               dice_.below(tokens_ / static_cast<u32>(clients_.size()) + 1)
          : dice_.below(tokens_);
  const bool has_since = !client.session.empty() && client.at != 0 && dice_.chance(600);
  switch (dice_.below(10)) {
    case 0:
    case 1:
    case 2:
      return ask(client, 's', token % tokens_, has_since);
    case 3:
      if (dice_.chance(300)) ask(client, 'u', token % tokens_, false);
      return;
    case 4:
    case 5:
      return ask(client, 'l', dice_.below(resources_), has_since);
    case 6:
      return ask(client, 'n', dice_.below(resources_), false);
    case 7:
      return ask(client, 'p', 0, false);
    default:
      if (repeat_send(client)) return;
      if (!client.tokens.empty()) {
        auto it = client.tokens.begin();
        std::advance(it, dice_.below(static_cast<u32>(client.tokens.size())));
        return ask(client, 'f', it->first, false);
      }
  }
}

void World::ask(Client& client, char kind, u32 what, bool has_since) {
  std::string text = "{ \"type\": \"";
  u64 since = 0;
  const Digits number(what);
  switch (kind) {
    case 'h':
      text += compose({"listen\", \"resources\": [], \"hello\": \"", client.session, "\""});
      break;
    case 's':
      text += compose({"subscribe\", \"token\": \"t", number, "\""});
      break;
    case 'u':
      text += compose({"unsubscribe\", \"token\": \"t", number, "\""});
      break;
    case 'l':
      text += compose({"listen\", \"resources\": [\"r", number, "\"]"});
      break;
    case 'n':
      text += compose({"unlisten\", \"resources\": [\"r", number, "\"]"});
      break;
    case 'p':
      text += "ping\"";
      break;
    case 'f':
      token_of_[++serial_] = what;
      turn_of_[serial_] = turns_[what].second == network_.nodes[client.node].config.node
                              ? turns_[what].first
                              : no_turn;
      // If the token is registered again, this is for the new one.
      if (client.has_asked('u', what)) turn_of_[serial_] = no_turn;
      client.sent_at[what] = network_.now;
      text += compose({"send\", \"token\": \"t", number, "\", \"channel\": \"",
                       channel_name(channel_of(what)),
                       "\", \"params\": {}, \"data\": ", Digits(serial_)});
      break;
  }
  if (has_since) {
    // A client knows a channel up to its latest message, which may be newer than its position.
    since = client.at;
    const View& view = client.views[channel_of(what)];
    if (kind == 's' && view.is_exact) since = view.at;
    text += compose({", \"since\": ", Digits(since), ", \"epoch\": \"", client.epoch, "\""});
  }
  const bool has_id = !client.session.empty() && kind != 'p';
  if (has_id) text += compose({", \"id\": ", Digits(++client.last_id)});
  text += " }";
  if (kind == 'n') since = client.listens.erase(what);
  if (kind == 'f') client.sends.insert(client.last_id);
  if (kind == 'f' && has_id)
    client.unsettled.push_back({client.last_id, what, serial_, client.handle});
  client.asked.push_back({has_id ? client.last_id : 0, kind, what, since, network_.now});
  if (kind == 'f' && !has_id) client.asked.pop_back();  // has no answer
  network_.give(network_.nodes[client.node], input::ClientFrame{client.handle, text, 1});
}

/// Repeats the oldest send of an earlier connection whose outcome the client does not know.
bool World::repeat_send(Client& client) {
  const auto send =
      std::find_if(client.unsettled.begin(), client.unsettled.end(), [&](const Client::Send& it) {
        return it.handle != client.handle && client.tokens.contains(it.token);
      });
  if (send == client.unsettled.end()) return false;
  send->handle = client.handle;
  turn_of_[send->serial] = no_turn;  // it may come after messages sent later
  client.asked.push_back({send->id, 'f', send->token, 0, network_.now});
  const std::string text = compose({"{ \"type\": \"send\", \"token\": \"t", Digits(send->token),
                                    "\", \"channel\": \"", channel_name(channel_of(send->token)),
                                    "\", \"params\": {}, \"data\": ", Digits(send->serial),
                                    ", \"id\": ", Digits(send->id), ", \"again\": true }"});
  network_.give(network_.nodes[client.node], input::ClientFrame{client.handle, text, 1});
  return true;
}

bool World::is_there(const std::string& name) const {
  return std::any_of(network_.nodes.begin(), network_.nodes.end(),
                     [&](const Node& node) { return node.config.node == name; });
}

/// No faults for a while, so that everything under way ends.
void World::calm(u32 ms) {
  network_.heal();
  const Millis until = network_.now + ms;
  while (network_.now < until && !failure_) {
    network_.pass_time(50);
    for (u32 i = 0; i < 1000 && network_.move_one(); ++i) {
    }
    for (const auto& [node, handle] : std::exchange(lost_sockets_, {}))
      network_.give(network_.nodes[node], input::ClientClosed{handle});
    for (Client& client : clients_) client.left.clear();
    while (!flights_.empty()) {
      const Flight flight = flights_.front();
      flights_.pop_front();
      network_.give(network_.nodes[flight.node], input::ForwardDone{flight.id, 200, "", 0});
    }
  }
}

}  // namespace sidekick::cluster
