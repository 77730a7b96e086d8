#include "about.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "inbox.hpp"
#include "members.hpp"
#include "sidekick/ion/reader.hpp"
#include "wire/message.hpp"

namespace sidekick::trace {

namespace {

using nlohmann::json;

template <class List, class Item>
bool has(const List& list, const Item& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

template <class List>
void add_new(List& list, const List& others) {
  for (const auto& other : others) {
    if (!has(list, other)) list.push_back(other);
  }
}

std::string decoded(const ion::Slice& slice) {
  std::string text;
  ion::append_decoded(text, slice.raw);
  return text;
}

/// The strings of an array, or keys and values of an object, decoded; members of other kinds are
/// skipped.
std::vector<std::string> strings_of(const ion::Slice& container) {
  std::vector<std::string> strings;
  ion::Reader reader(container.raw, ion::depth_ceiling);
  ion::Slice item;
  ion::Slice key;
  if (container.kind == ion::Kind::array && reader.enter_array()) {
    while (reader.next_element() && reader.read(item)) {
      if (item.kind == ion::Kind::string) strings.push_back(decoded(item));
    }
  } else if (container.kind == ion::Kind::object && reader.enter_object()) {
    while (reader.next_member(key) && reader.read(item)) {
      if (item.kind != ion::Kind::string) continue;
      strings.push_back(decoded(key));
      strings.push_back(decoded(item));
    }
  }
  return strings;
}

std::string name_topic(Bytes channel, const std::vector<std::string>& params) {
  Scope scope;
  scope.channel = channel;
  for (std::size_t i = 0; i + 1 < params.size(); i += 2)
    scope.params.push_back({params[i], params[i + 1]});
  std::string name;
  name_channel_topic(name, scope);
  return name;
}

}  // namespace

void About::add(const About& other) {
  add_new(clients, other.clients);
  add_new(tokens, other.tokens);
  add_new(topics, other.topics);
}

bool About::has_client(u32 client) const { return has(clients, client); }
bool About::has_token(Bytes token) const { return has(tokens, token); }

bool About::has_topic(Bytes name) const {
  return std::any_of(topics.begin(), topics.end(), [name](Bytes topic) {
    if (topic == name) return true;
    const bool is_channel = topic.starts_with("channel:");
    topic.remove_prefix(topic.find(':') + 1);
    return topic == name ||
           (is_channel && topic.starts_with(name) && topic.substr(name.size()).starts_with('/'));
  });
}

bool About::meets(const About& other) const {
  const auto meet = [](const auto& list, const auto& others) {
    return std::any_of(list.begin(), list.end(),
                       [&others](const auto& item) { return has(others, item); });
  };
  return meet(clients, other.clients) || meet(tokens, other.tokens) || meet(topics, other.topics);
}

void Follower::open() {
  topic_of_token_.clear();
  forwards_.clear();
  calls_.clear();
}

const About& Follower::follow(Millis now, const Input& input) {
  input_ = {};
  now_ = now;
  while (!forwards_.empty() && forwards_.begin()->second.timeout_at <= now)
    forwards_.erase(forwards_.begin());  // dropped; ids rise
  switch (input.tag) {
    case InputTag::client_opened:
      input_.clients = {input.client_opened.client};
      break;
    case InputTag::client_frame:
      input_.clients = {input.client_frame.client};
      read_text(input.client_frame.bytes, input_);
      break;
    case InputTag::client_closed:
      input_.clients = {input.client_closed.client};
      break;
    case InputTag::client_lagging:
      input_.clients = {input.client_lagging.client};
      break;
    case InputTag::http_request:
      read_text(input.http_request.body, input_);
      break;
    case InputTag::forward_done:
      if (const auto at = forwards_.find(input.forward_done.forward); at != forwards_.end()) {
        input_ = std::move(at->second.about);
        forwards_.erase(at);
      }
      break;
    case InputTag::restore_token: {
      const std::string key(input.restore_token.key);
      About record;
      read_text(input.restore_token.record, record);
      if (!record.topics.empty()) topic_of_token_[key] = record.topics.front();
      add_token(key, input_);
      break;
    }
    case InputTag::restore_client: {
      input_.clients = {input.restore_client.client};
      const Bytes record = input.restore_client.record;
      for (std::size_t at = 0; at < record.size();) {
        const std::size_t end = std::min(record.find('\n', at), record.size());
        read_text(record.substr(at, end - at), input_);
        at = end + 1;
      }
      break;
    }
    case InputTag::not_stored:
      if (input.not_stored.client != 0) input_.clients = {input.not_stored.client};
      if (!input.not_stored.key.empty()) add_token(input.not_stored.key, input_);
      break;
    case InputTag::engine_up:
      end_calls(input.engine_up.shard);
      break;
    case InputTag::engine_down:
      end_calls(input.engine_down.shard);
      break;
    case InputTag::engine_answer:
      if (const auto at = calls_.find(input.engine_answer.call); at != calls_.end()) {
        input_ = std::move(at->second.about);
        calls_.erase(at);
      }
      break;
    case InputTag::engine_message: {
      const input::EngineMessage& in = input.engine_message;
      if (!in.topic.empty()) input_.topics = {std::string(in.topic)};
      if (!in.topic.empty()) break;
      for (const auto& [kind, text] : read_inbox(in.body).fields)
        add_engine_text(kind, text, input_);
      break;
    }
    case InputTag::begin:
    case InputTag::restored:
    case InputTag::timer_fired:
    case InputTag::shutting_down:
    case InputTag::draining:
      break;
  }
  return input_;
}

const About& Follower::follow(const json& action) {
  action_ = {};
  const Bytes name = plain_text_of(action, "out");
  const std::string key(plain_text_of(action, "key"));
  if (const auto client = action.find("client");
      client != action.end() && client->is_number_unsigned())
    action_.clients = {client->get<u32>()};
  if (const auto clients = action.find("clients"); clients != action.end() && clients->is_array()) {
    for (const json& client : *clients) {
      if (client.is_number_unsigned()) action_.clients.push_back(client.get<u32>());
    }
  }
  if (name == "put_token") {
    About record;
    read_text(plain_text_of(action, "record"), record);
    if (!record.topics.empty()) topic_of_token_[key] = record.topics.front();
  }
  if (!key.empty()) add_token(key, action_);
  if (name == "erase_token") topic_of_token_.erase(key);
  if (name == "send") read_text(plain_text_of(action, "text"), action_);
  if (name == "respond") action_ = input_;
  if (name == "engine_run" || name == "engine_join" || name == "engine_leave") {
    const EngineScript* script = find_engine_script(plain_text_of(action, "script"));
    const auto list = action.find(name == "engine_run" ? "args" : "topics");
    const std::size_t count = list != action.end() && list->is_array() ? list->size() : 0;
    for (u32 i = 0; i < count; ++i) {
      const EngineKind kind = name != "engine_run" ? EngineKind::topic
                              : script != nullptr  ? engine_field_at(script->arguments, i).kind
                                                   : EngineKind::end;
      if ((*list)[i].is_string())
        add_engine_text(kind, (*list)[i].get_ref<const std::string&>(), action_);
    }
    // What waits for the answer of a call is the input, or one before it.
    if (name != "engine_leave") {
      Call& call = calls_[static_cast<u32>(number_of(action, "call"))];
      call = {action_, static_cast<u32>(number_of(action, "shard"))};
      for (const u32 client : input_.clients) call.about.clients.push_back(client);
    }
  }
  if (name == "forward") {
    read_text(plain_text_of(action, "body"), action_);
    // Its sender, or the last request answered for the same token; something else if a timeout
    // freed its place.
    if (!action_.topics.empty() && has(input_.topics, action_.topics.front())) action_.add(input_);
    forwards_[number_of(action, "forward")] = {action_, now_ + number_of(action, "timeout_ms")};
  }
  return action_;
}

/// Of a message, a body or a line of a record; of an error, of its content.
void Follower::read_text(Bytes text, About& about) const {
  if (!ion::validate(text, ion::depth_ceiling).ok()) return;
  ion::Reader reader(text, ion::depth_ceiling);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object || !reader.enter_object()) return;
  ion::Slice key;
  ion::Slice value;
  std::optional<std::string> channel;
  std::vector<std::string> params;
  while (reader.next_member(key) && reader.read(value)) {
    const std::string name = decoded(key);
    const bool is_string = value.kind == ion::Kind::string;
    if (name == "token" && is_string) add_token(decoded(value), about);
    if (name == "resource" && is_string) about.topics.push_back("resource:" + decoded(value));
    if (name == "channel" && is_string) channel = decoded(value);
    if (name == "params") params = strings_of(value);
    if (name == "error" && value.kind == ion::Kind::object) read_text(value.raw, about);
    if ((name == "resources" || name == "resources_gone") && value.kind == ion::Kind::array) {
      for (const std::string& resource : strings_of(value))
        about.topics.push_back("resource:" + resource);
    }
    if ((name == "tokens" || name == "tokens_gone") && value.kind == ion::Kind::array) {
      for (const std::string& token : strings_of(value)) add_token(token, about);
    }
  }
  if (!channel) return;
  const std::string topic = name_topic(*channel, params);
  if (!has(about.topics, topic)) about.topics.push_back(topic);
}

void Follower::add_engine_text(EngineKind kind, Bytes text, About& about) const {
  if (kind == EngineKind::token) add_token(text, about);
  if (kind == EngineKind::topic) about.topics.emplace_back(text);
}

void Follower::end_calls(u32 shard) {
  std::erase_if(calls_, [shard](const auto& call) { return call.second.shard == shard; });
}

/// A token, and the topic of its subscription.
void Follower::add_token(Bytes key, About& about) const {
  if (about.has_token(key)) return;
  about.tokens.emplace_back(key);
  const auto at = topic_of_token_.find(key);
  if (at != topic_of_token_.end() && !has(about.topics, at->second))
    about.topics.push_back(at->second);
}

}  // namespace sidekick::trace
