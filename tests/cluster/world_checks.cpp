// The checkers: compare what the clients, the app server and the engine see with what is promised.
#include <algorithm>

#include "sidekick/text.hpp"
#include "world.hpp"

namespace sidekick::cluster {

namespace {

u64 number_after(Bytes text, Bytes name) {
  const std::size_t start = text.find(name);
  if (start == Bytes::npos) return 0;
  u64 number = 0;
  for (const char c : text.substr(start + name.size())) {
    if (c < '0' || c > '9') break;
    number = number * 10 + static_cast<u64>(c - '0');
  }
  return number;
}

bool has(Bytes text, Bytes part) { return text.find(part) != Bytes::npos; }

std::string text_after(Bytes text, Bytes name) {
  const std::size_t start = text.find(name);
  if (start == Bytes::npos) return {};
  const Bytes rest = text.substr(start + name.size());
  return std::string(rest.substr(0, rest.find('"')));
}

}  // namespace

void World::on_run(const Command& command, const engine::Shard::Answer& answer) {
  if (command.script == "sync") {
    if (epoch_ != answer.values[0]) epoch_began_at_ = network_.now;
    epoch_ = answer.values[0];
  } else if (command.script == "message") {
    for (u32 channel = 0; channel < channels_; ++channel) {
      if (command.args[0] == topic_name(channel))
        messages_[channel].push_back(
            {number_after(answer.values[0], ""), number_after(command.args[1], "\"data\": ")});
    }
  } else if (command.script == "claim" && answer.values[0] == "ok") {
    const u32 token = static_cast<u32>(number_after(command.args[0], "t"));
    auto& [turn, holder] = turns_[token];
    if (holder != command.args[1]) ++turn;
    taken_from_.erase({token, command.args[1]});
    holder = command.args[1];
  } else if (command.script == "erase" && answer.values[0] == "ok") {
    const u32 token = static_cast<u32>(number_after(command.args[0], "t"));
    ++turns_[token].first;
    erased_.insert(token);
  } else if (command.script == "register" && answer.values[0] == "ok") {
    // Messages sent before may go with the erased or lost token, or with this one.
    const u32 token = static_cast<u32>(number_after(command.args[0], "t"));
    if (erased_.erase(token) != 0 || data_lost_at_ != 0) end_turn(token);
  } else if (command.script == "reclaim") {
    // An engine with old data may answer this even to the node that had the token all the time.
    for (std::size_t i = 0; i < answer.values.size(); ++i)
      if (answer.values[i] == "1" || answer.values[i] == "2")
        end_turn(static_cast<u32>(number_after(command.args[2 + 3 * i], "t")));
  } else if (command.script == "update") {
    for (std::size_t i = 1; i < command.args.size(); ++i)
      note_change(static_cast<u32>(number_after(command.args[i], "resource:r")));
  }
}

/// Messages sent so far may reach the app server after messages sent later.
void World::end_turn(u32 token) {
  turns_[token].second.clear();
  for (auto& [serial, turn] : turn_of_)
    if (token_of_[serial] == token) turn = no_turn;
}

void World::on_taken(Bytes node, Bytes token) {
  taken_from_[{static_cast<u32>(number_after(token, "t")), std::string(node)}] = network_.runs;
}

/// A node learns from `reclaim` that it no longer has a token, and from `update` that a change was
/// published.
void World::on_answer(Bytes node, const Answer& answer) {
  for (auto& [resource, change] : changed_by_)
    if (change.run == answer.run) change.node = node;
  const Command& command = answer.command;
  for (std::size_t i = 0; command.script == "reclaim" && i < answer.answer.values.size(); ++i) {
    const Bytes state = answer.answer.values[i];
    if (state != "1" && state != "2") continue;
    const u32 token = static_cast<u32>(number_after(command.args[2 + 3 * i], "t"));
    const auto taken = taken_from_.find({token, std::string(node)});
    if (taken != taken_from_.end() && taken->second < answer.run) taken_from_.erase(taken);
  }
}

bool World::is_taken_from(u32 token, const Client& client) const {
  return client.node != nobody &&
         taken_from_.contains({token, network_.nodes[client.node].config.node});
}

void World::note_change(u32 resource) {
  changed_by_[resource] = {network_.runs, {}};
  changes_[resource] = ++change_count_;
  changed_at_[resource] = network_.now;
}

void World::on_action(Node& node, const Action& action) {
  switch (action.tag) {
    case ActionTag::send:
      for (const u32 handle : action.send.clients) {
        Client& client = clients_[handle % handle_step];
        if (client.handle == handle && client.node == node.index) on_text(client, action.send.text);
      }
      return;
    case ActionTag::close: {
      Client& client = clients_[action.close.client % handle_step];
      if (client.handle == action.close.client && client.node == node.index) on_closed(client);
      std::erase(lost_sockets_, std::pair(node.index, action.close.client));
      return;
    }
    case ActionTag::respond:
      if (posts_.erase(action.respond.request) == 0)
        fail(Checker::answered, "one answer to each request");
      return;
    case ActionTag::forward: {
      flights_.push_back({node.index, action.forward.forward});
      const u64 serial = number_after(action.forward.body, "\"data\": ");
      const u32 token = token_of_[serial];
      if (!sent_on_.insert(serial).second)
        fail(Checker::lane_order, compose({"message ", Digits(serial), " twice"}));
      // Once another node has had the token, messages that wait here may come after newer ones.
      auto& [last, turn] = forwarded_[token];
      const u32 own_turn = turn_of_[serial];
      if (serial < last && turn == own_turn && turn != no_turn)
        fail(Checker::lane_order, compose({"message ", Digits(serial), " of token ", Digits(token),
                                           " after ", Digits(last)}));
      if (serial > last) turn = own_turn;
      last = std::max(last, serial);
      return;
    }
    default:
      return;
  }
}

void World::on_text(Client& client, Bytes text) {
  if (text.starts_with("{ \"type\": \"message\"")) return on_message(client, text);
  if (text.starts_with("{ \"type\": \"updated\"")) {
    const u32 resource = static_cast<u32>(number_after(text, "\"resource\": \"r"));
    const auto listens = client.listens.find(resource);
    // A message takes some time, and after a failure the hub starts where it missed nothing.
    constexpr Millis way_ms = 8000;
    const Millis since = std::min(network_.now, network_.nodes[client.node].trouble_began_at);
    if (listens != client.listens.end() && changed_at_[resource] + way_ms < since &&
        data_lost_at_ == 0)
      fail(Checker::resynced, compose({"client ", Digits(client.index), " is told r",
                                       Digits(resource), ", which has not changed"}));
    client.told[resource] = change_count_;
    return;
  }
  if (text.starts_with("{\"type\":\"pong\"")) {
    const u64 at = number_after(text, "\"at\":");
    if (at != 0) client.at = at;
    for (auto it = client.asked.begin(); it != client.asked.end(); ++it) {
      if (it->kind != 'p') continue;
      client.asked.erase(it);
      return;
    }
    fail(Checker::answered, "one pong to each ping");
    return;
  }
  if (client.session.empty() && has(text, "(engine_calls_max)")) {
    // This may be the answer to its latest frame, while others still wait.
    client.is_confused = true;
    for (u32 token = 0; token < tokens_; ++token) client.unsure.insert(token);
  }
  const u64 id = number_after(text, "\"id\": ");
  if (id == 0 && !client.session.empty()) {
    // Not an answer: a token is lost, or messages of a channel are.
    const u32 channel = static_cast<u32>(number_after(text, "\"channel\": \"c"));
    if (has(text, "\"type\": \"subscribed\"")) {
      View& view = client.views[channel];
      view.is_exact = false;
      view.at = number_after(text, "\"at\": ");  // of a new epoch: it may be lower
      view.serial_at_start = messages_[channel].size();
    }
  }
  // Without ids, answers come in the order of the frames; that of a message names its channel.
  const bool is_of_send = client.session.empty() && has(text, "\"type\": \"error\"") &&
                          !has(text, "\"channel\": \"unknown\"");
  if (is_of_send && !has(text, "token lost")) return;
  if (has(text, "token lost")) {
    const u32 channel = static_cast<u32>(number_after(text, "\"channel\": \"c"));
    // The error names the channel: with several tokens it is not known which one is lost.
    for (const auto& [token, since] : client.tokens)
      if (channel_of(token) == channel) client.unsure.insert(token);
    std::erase_if(client.tokens, [&](const auto& it) { return client.unsure.contains(it.first); });
    client.views[channel] = {};
    return;
  }
  if (id != 0) std::erase_if(client.unsettled, [&](const auto& it) { return it.id == id; });
  for (auto it = client.asked.begin(); it != client.asked.end(); ++it) {
    if (it->kind == 'p' || it->id != id) continue;
    const Client::Asked asked = *it;
    client.asked.erase(it);
    return on_reply(client, asked, text);
  }
  if (client.sends.contains(id)) return;  // the outcome of one that it sent on another connection
  if (id != 0) fail(Checker::answered, compose({"one answer to each frame, not: ", text}));
}

void World::on_reply(Client& client, const Client::Asked& asked, Bytes text) {
  if (has(text, "\"type\": \"error\"")) {
    // A client that listened before still does.
    if (asked.kind == 'n' && asked.since != 0) client.listens.emplace(asked.what, change_count_);
    return;
  }
  const u64 at = number_after(text, "\"at\": ");
  switch (asked.kind) {
    case 'h':
      client.is_welcome = true;
      client.epoch = text_after(text, "\"epoch\": \"");
      client.at = at;
      return;
    case 's':
      return on_subscribed(client, asked.what, asked.since, text);
    case 'u':
      client.tokens.erase(asked.what);
      // A message sent meanwhile takes the token if it is registered again.
      if (client.sent_at[asked.what] >= asked.at) client.unsure.insert(asked.what);
      if (std::none_of(client.tokens.begin(), client.tokens.end(), [&](const auto& it) {
            return channel_of(it.first) == channel_of(asked.what);
          }))
        client.views[channel_of(asked.what)] = {};
      return;
    case 'n':
      client.listens.erase(asked.what);
      return;
    case 'l':
      client.listens.emplace(asked.what, change_count_);
      client.told[asked.what] = change_count_;
      return;
    default:
      return;
  }
}

void World::on_subscribed(Client& client, u32 token, u64 since, Bytes text) {
  for (const Client& other : clients_) {
    const auto held = other.tokens.find(token);
    if (other.index == client.index || held == other.tokens.end()) continue;
    if (client.is_confused || other.is_confused) continue;
    if (other.has_asked('u', token)) continue;  // erased, but not told yet
    const auto own = client.tokens.find(token);
    const Millis held_since =
        own == client.tokens.end() ? held->second : std::min(held->second, own->second);
    // The node of one of them has not learnt yet that the session moved to another node.
    if (is_taken_from(token, other) || is_taken_from(token, client)) continue;
    // The engine may have given the token away before it lost its data, or before a node lost its
    // connection.
    constexpr Millis way_ms = 5000;
    if (is_well(other.node, held_since - way_ms) && is_well(client.node, held_since - way_ms))
      fail(Checker::one_holder, compose({"token ", Digits(token), " of client ",
                                         Digits(other.index), " for ", Digits(client.index)}));
  }
  client.tokens.emplace(token, network_.now);
  if (!client.is_confused) client.unsure.erase(token);
  const u32 channel = channel_of(token);
  View& view = client.views[channel];
  const bool is_recovered = has(text, "\"recovered\": true");
  if (view.is_there && !is_recovered) return;  // another token of the same channel
  view.is_there = true;
  view.came_at = network_.now;
  view.unsettled_since = network_.unsettled_since(network_.nodes[client.node]);
  view.serial_at_start = messages_[channel].size();
  if (is_recovered && !view.is_exact) view.at = since;
  if (is_recovered) {
    view.is_exact = true;
    return;
  }
  view.is_exact = false;
  view.at = number_after(text, "\"at\": ");
}

/// After a failure, only a client that says hello is told that the history does not reach back.
bool World::may_miss(const Client& client, const View& view,
                     const std::vector<Stamped>& all) const {
  if (!client.session.empty() || is_well(client.node, view.came_at)) return false;
  // The checker sees a gap only at the next message, and another failure may have begun by then. A
  // node that fails before it has told all clients of a new epoch does not fetch what they miss.
  const Millis since = std::min(view.unsettled_since, network_.nodes[client.node].trouble_began_at);
  return all.size() >= Network::history_min || epoch_began_at_ >= since;
}

/// The client has all messages of the channel before this one.
void World::on_message(Client& client, Bytes text) {
  const u32 channel = static_cast<u32>(number_after(text, "\"channel\": \"c"));
  const u64 serial = number_after(text, "\"data\": ");
  const std::vector<Stamped>& all = messages_[channel];
  View& view = client.views[channel];
  if (!view.is_there || client.is_confused) return;  // the client ignores it
  const auto it = std::find_if(all.begin(), all.end(),
                               [&](const Stamped& one) { return one.serial == serial; });
  if (it == all.end()) {
    if (data_lost_at_ == 0) fail(Checker::one_order, "a message that the engine has");
    return;
  }
  const u64 at = number_after(text, ", \"at\": ");
  if (at != 0 && at != it->at)
    fail(Checker::one_order, compose({"message ", Digits(serial), " has another stamp"}));
  if (it->at <= view.at && (view.is_exact || !client.session.empty())) {
    if (client.session.empty())
      fail(Checker::one_order,
           compose({"client ", Digits(client.index), " gets message ", Digits(serial), " twice"}));
    return;  // the client ignores it
  }
  const auto place = static_cast<u64>(it - all.begin());
  if (!view.is_exact && view.serial_at_start != number_max && place < view.serial_at_start)
    return;  // came late; the client ignores it, or it does not matter
  if (view.is_exact && place > 0 && all[place - 1].at > view.at && !may_miss(client, view, all))
    fail(Checker::recovered,
         compose({"client ", Digits(client.index), " gets message ", Digits(serial), " of channel ",
                  Digits(channel), " without ", Digits(all[place - 1].serial)}));
  if (!view.is_exact && place > view.serial_at_start && !may_miss(client, view, all))
    fail(Checker::confirmed, compose({"client ", Digits(client.index), " gets message ",
                                      Digits(serial), " of channel ", Digits(channel), " first"}));
  view.is_exact = true;
  view.at = it->at;
  view.came_at = network_.now;
  view.unsettled_since = network_.unsettled_since(network_.nodes[client.node]);
}

void World::check_calm() {
  // A hold of old data, or of a command that came late, ends when somebody else wants the token.
  for (const engine::Shard::Hold& hold : network_.shard.holds())
    if ((data_lost_at_ != 0 || network_.is_late(hold.token)) && is_there(hold.node))
      network_.ask_for(hold.token);
  calm(1000);
  if (!posts_.empty()) fail(Checker::answered, compose({"POST ", Digits(posts_.begin()->first)}));
  std::set<std::string> held;
  std::map<std::string, std::set<std::string>> joined;
  for (Client& client : clients_) {
    if (client.node == nobody || client.is_confused) continue;
    const Node& node = network_.nodes[client.node];
    if (!client.asked.empty())
      fail(Checker::answered, compose({"client ", Digits(client.index), " has asked '",
                                       std::string(1, client.asked.front().kind), "' ",
                                       Digits(client.asked.front().what)}));
    for (const auto& [token, since] : client.tokens) {
      held.insert(compose({"t", Digits(token), " ", node.config.node}));
      joined[node.config.node].insert(topic_name(channel_of(token)));
    }
    for (const auto& [resource, since] : client.listens) {
      joined[node.config.node].insert(compose({"resource:r", Digits(resource)}));
      // A change without an answer, or with an answer to a dead node only, may be lost.
      const bool is_known =
          changed_at_[resource] > data_lost_at_ || is_there(changed_by_[resource].node);
      if (is_known && changes_[resource] > since && client.told[resource] < changes_[resource])
        fail(Checker::confirmed, compose({"client ", Digits(client.index), " is not told that r",
                                          Digits(resource), " has changed"}));
    }
    for (const auto& [channel, view] : client.views) {
      const std::vector<Stamped>& all = messages_[channel];
      if (!view.is_there || all.empty()) continue;
      const bool is_behind =
          view.is_exact ? view.at < all.back().at : view.serial_at_start < all.size();
      if (is_behind && data_lost_at_ == 0 && !may_miss(client, view, all))
        fail(Checker::confirmed,
             compose({"client ", Digits(client.index), " has not got message ",
                      Digits(all.back().serial), " of channel ", Digits(channel)}));
    }
  }
  const auto is_unsure = [&](const std::string& hold) {
    return std::any_of(clients_.begin(), clients_.end(), [&](const Client& client) {
      return client.node != nobody &&
             std::any_of(client.unsure.begin(), client.unsure.end(), [&](u32 token) {
               return hold ==
                      compose({"t", Digits(token), " ", network_.nodes[client.node].config.node});
             });
    });
  };
  std::set<std::string> holds;
  for (const engine::Shard::Hold& hold : network_.shard.holds())
    if (is_there(hold.node) && !is_unsure(compose({hold.token, " ", hold.node})))
      holds.insert(compose({hold.token, " ", hold.node}));
  std::erase_if(held, is_unsure);
  if (holds != held) {
    std::string what = "the engine has";
    for (const std::string& it : holds)
      what += (held.contains(it) ? " (" : " ") + it + (held.contains(it) ? ")," : ",");
    what += " clients have";
    for (const std::string& it : held)
      if (!holds.contains(it)) what += " " + it + ",";
    fail(Checker::converges, what);
  }
  for (const Node& node : network_.nodes) {
    if (std::any_of(clients_.begin(), clients_.end(), [&](const Client& client) {
          return client.node == node.index && !client.unsure.empty();
        }))
      continue;
    const std::vector<std::string> topics = network_.shard.joined(node.config.node);
    if (std::set<std::string>(topics.begin(), topics.end()) != joined[node.config.node]) {
      std::string what = compose({"node ", Digits(node.index), " has joined"});
      for (const std::string& topic : topics) what += " " + topic;
      what += ", clients listen to";
      for (const std::string& topic : joined[node.config.node]) what += " " + topic;
      fail(Checker::converges, what);
    }
  }
}

void World::check_end() {
  for (Client& client : clients_)
    if (client.node != nobody) close(client, true);
  calm(20'000);
  check_calm();  // no holds, no joins
  for (Node& node : network_.nodes) {
    if (!network_.shard.joined(node.config.node).empty())
      fail(Checker::nothing_left, "a topic is joined");
    if (node.calls != 0) fail(Checker::nothing_left, "a call is under way");
    if (node.hub->state_size() != 0) fail(Checker::nothing_left, "a hub is not empty");
  }
}

}  // namespace sidekick::cluster
