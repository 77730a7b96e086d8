#include "words.hpp"

#include <algorithm>

#include "sidekick/text.hpp"

namespace sidekick::sim {

// In the order of Flaw.
const FlawFacts flaw_facts[] = {
    {Stage::none, ""},
    {Stage::none, ""},
    {Stage::syntax, ""},
    {Stage::syntax, ""},
    {Stage::syntax, ""},
    {Stage::syntax, ""},
    {Stage::object, "expected an object, found an array at byte #"},
    {Stage::twice, "duplicate member \"data\" at byte #"},
    {Stage::type, "missing member \"type\"; expected a string"},
    {Stage::type,
     "\"type\" must be one of subscribe, unsubscribe, send, listen, unlisten, ping; found "
     "\"shout\" at byte #"},
    {Stage::type, "\"type\" must be a string, found a number at byte #"},
    {Stage::token, "missing member \"token\"; expected a string"},
    {Stage::token, "\"token\" must be a string, found a number at byte #"},
    {Stage::token, "\"token\" must not be empty, found \"\" at byte #"},
    {Stage::token,
     "\"token\" must be valid Unicode, found a lone surrogate in the string at byte #"},
    {Stage::channel, "missing member \"channel\"; expected a string"},
    {Stage::params, "missing member \"params\"; expected an object"},
    {Stage::params, "\"params\" must be an object, found an array at byte #"},
    {Stage::params, "param \"zz\" must be a string, found a number at byte #"},
    {Stage::params, "duplicate param \"zz\" at byte #"},
    {Stage::resources, "missing member \"resources\"; expected an array"},
    {Stage::resources, "\"resources\" must be an array, found an object at byte #"},
    {Stage::resources, ""},  // depends on the position: Model::resources_complaint
    {Stage::id, "\"id\" must be an integer from 1 to 9007199254740991, at byte #"},
    {Stage::id, "\"id\" must be an integer from 1 to 9007199254740991, at byte #"},
    {Stage::id, "\"id\" must be an integer from 1 to 9007199254740991, at byte #"},
    {Stage::id, "duplicate member \"id\" at byte #"},
    {Stage::extension, "\"hello\" must be a string, found a number at byte #"},
    {Stage::extension, "\"hello\" must be 16 to 64 letters, digits, \"-\" and \"_\", at byte #"},
    {Stage::extension, "\"hello\" must be 16 to 64 letters, digits, \"-\" and \"_\", at byte #"},
    {Stage::extension, "\"hello\" must be 16 to 64 letters, digits, \"-\" and \"_\", at byte #"},
    {Stage::id, "duplicate member \"hello\" at byte #"},
    {Stage::extension, "\"since\" must be an integer from 0 to 9007199254740991, at byte #"},
    {Stage::extension, "\"since\" must be an integer from 0 to 9007199254740991, at byte #"},
    {Stage::id, "duplicate member \"since\" at byte #"},
    {Stage::extension, "\"epoch\" must be a string, found a number at byte #"},
    {Stage::extension, "\"again\" must be a boolean, found a number at byte #"},
    {Stage::extension, "\"again\" needs an \"id\""},
};

std::string too_long(Bytes what, u64 bytes, u32 most, Bytes limit) {
  return compose(
      {what, " has ", Digits(bytes), " bytes; the limit is ", Digits(most), " (", limit, ")"});
}

std::string too_many_params(const Config& config) {
  return compose({"expected at most ", Digits(config.params_max),
                  " params (params_max), found one more at byte #"});
}

namespace {

constexpr char hex_digits[] = "0123456789abcdef";

/// As JSON.stringify prints it; lone surrogates (three bytes from ED A0 on) as escapes.
std::string quoted(const std::string& bytes) {
  std::string out = "\"";
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const u8 byte = static_cast<u8>(bytes[at]);
    const bool is_surrogate = byte == 0xED && static_cast<u8>(bytes[at + 1]) >= 0xA0;
    if (is_surrogate) {
      const u32 code = 0xD000u | (static_cast<u8>(bytes[at + 1]) & 0x3Fu) << 6 |
                       (static_cast<u8>(bytes[at + 2]) & 0x3Fu);
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += hex_digits[code >> shift & 15];
      at += 2;
    } else if (byte == '"' || byte == '\\') {
      out += '\\';
      out += bytes[at];
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte < 0x20) {
      out += compose(
          {"\\u00", Bytes(hex_digits + (byte >> 4), 1), Bytes(hex_digits + (byte & 15), 1)});
    } else {
      out += bytes[at];
    }
  }
  return out + "\"";
}

u32 escaped_size(const std::string& name) {
  return static_cast<u32>(name.size() +
                          static_cast<u64>(std::count_if(name.begin(), name.end(), [](char c) {
                            return c == ',' || c == ':' || c == '/' || c == '\\';
                          })));
}

std::string token_name(Dice& dice, u32 index, const Swarm& swarm) {
  const std::string number = compose({Digits(index)});
  if (!swarm.has_odd_names) return "token-" + number;
  switch (dice.below(8)) {
    case 0:
      return "\"quoted\\" + number;
    case 1:
      return "\xC3\xA9\xF0\x9F\x98\x80-" + number;
    case 2: {
      // At the limit, or one above it.
      std::string name = "edge-" + number + "-";
      name.resize(
          std::max<std::size_t>(name.size(), swarm.configs[0].token_bytes_max + dice.below(2)),
          'e');
      return name;
    }
    case 3:
      return "6f1c1a52-0a3e-4d6b-9a0e-00000000000" + number;
    default:
      return "t" + number;
  }
}

std::string resource_name(Dice& dice, u32 index, const Swarm& swarm) {
  const std::string number = compose({Digits(index)});
  if (!swarm.has_odd_names) return "todo/" + number;
  switch (dice.below(8)) {
    case 0:
      return "\n\"\\" + number;
    case 1:
      return "\xED\xA0\x80" + number;
    case 2: {
      std::string name = "r" + number + "-";
      name.resize(
          std::max<std::size_t>(
              name.size(), std::min(swarm.configs[0].resource_bytes_max, 200u) + dice.below(2)),
          'r');
      return name;
    }
    case 3:
      return index == 0 ? "" : "channel:chat/" + number;
    default:
      return "todo/" + number;
  }
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Names that look alike but differ, and names that look different but are the same topic.
const std::pair<std::string, Pairs> alike[] = {
    {"chat", {}},
    {"chat", {{"a", "1,b:2"}}},
    {"chat", {{"a", "1"}, {"b", "2"}}},
    {"chat", {{"a", "1"}}},
    {"chat/a:1", {}},
    {"chat", {{"a", "1"}, {"b", ""}}},
    {"chat", {{"a:1,b", "2"}}},
    {"chat\\", {{"a", "1"}}},
    {"", {{"", ""}}},
    {"chat", {{"\xED\xBF\xBF", "\n"}}},
};

}  // namespace

Word make_word(std::string bytes) {
  Word word{std::move(bytes), {}, {}};
  word.literal = quoted(word.bytes);
  word.alias = word.literal;
  if (!word.bytes.empty() && word.literal[1] >= 'a' && word.literal[1] <= 'z') {
    const u8 byte = static_cast<u8>(word.literal[1]);
    word.alias = compose({"\"\\u00", Bytes(hex_digits + (byte >> 4), 1),
                          Bytes(hex_digits + (byte & 15), 1), Bytes(word.literal).substr(2)});
  }
  return word;
}

static std::string complaint_about(const ScopeWords& scope, std::size_t order,
                                   const Config& config) {
  for (std::size_t i = 0; i < scope.params.size(); ++i) {
    const auto& [name, value] = scope.params[(i + order) % scope.params.size()];
    if (i == config.params_max) return too_many_params(config);
    if (name.bytes.size() > config.param_name_bytes_max) {
      return too_long("param name", name.bytes.size(), config.param_name_bytes_max,
                      "param_name_bytes_max");
    }
    if (value.bytes.size() > config.param_value_bytes_max) {
      return too_long("value of param " + name.literal, value.bytes.size(),
                      config.param_value_bytes_max, "param_value_bytes_max");
    }
  }
  return {};
}

static ScopeWords make_scope(const std::string& channel, const Pairs& params, const Swarm& swarm) {
  ScopeWords scope;
  scope.channel = make_word(channel);
  scope.topic_bytes =
      static_cast<u32>(sizeof "channel:" - 1) + escaped_size(channel) + (params.empty() ? 1 : 0);
  for (const auto& [name, value] : params) {
    scope.params.emplace_back(make_word(name), make_word(value));
    scope.topic_bytes += 2 + escaped_size(name) + escaped_size(value);
  }
  const std::size_t orders = std::clamp<std::size_t>(params.size(), 1, 4);
  for (std::size_t order = 0; order < orders; ++order) {
    std::string text = params.empty() ? "{}" : "{ ";
    for (std::size_t i = 0; i < params.size(); ++i) {
      const auto& [name, value] = scope.params[(i + order) % params.size()];
      text += compose({i > 0 ? ", " : "", name.literal, ": ", value.literal});
    }
    if (!params.empty()) text += " }";
    scope.params_text.push_back(text);
    for (u32 config = 0; config < 2; ++config) {
      scope.params_complaint[config].push_back(
          complaint_about(scope, order, swarm.configs[config]));
    }
  }
  return scope;
}

Words::Words(const Swarm& swarm) {
  Dice dice(swarm.seed ^ 0x776f726473);
  for (u32 i = 0; i < swarm.tokens; ++i) tokens.push_back(make_word(token_name(dice, i, swarm)));
  for (u32 i = 0; i < swarm.resources; ++i)
    resources.push_back(make_word(resource_name(dice, i, swarm)));
  std::vector<u32> order(std::size(alike));
  for (u32 i = 0; i < order.size(); ++i) {
    const u32 at = dice.below(i + 1);
    order[i] = order[at];
    order[at] = i;
  }
  for (u32 i = 0; i < swarm.scopes; ++i) {
    if (swarm.has_odd_names && i < order.size()) {
      const auto& [channel, params] = alike[order[i]];
      scopes.push_back(make_scope(channel, params, swarm));
      continue;
    }
    Pairs params = {{"roomId", compose({Digits(i)})}};
    for (u32 extra = dice.below(3); extra > 0; --extra)
      params.emplace_back(compose({"p", Digits(extra)}), "x");
    if (swarm.has_odd_names && dice.chance(100)) {
      for (u32 big = 0; big < 6; ++big)
        params.emplace_back(compose({"big", Digits(big)}),
                            std::string(900, 'v'));  // too long to echo
    }
    scopes.push_back(make_scope("room", params, swarm));
  }
  for (u32 i = 0; i < swarm.sessions; ++i) {
    std::string session = compose({Digits(i), "_Session-"});
    session.resize(16 + i * 16 % 49, 'z');
    sessions.push_back(std::move(session));
  }
  // Views into strings that do not move from now on.
  for (u32 i = 0; i < tokens.size(); ++i) {
    token_index_.emplace(tokens[i].bytes, i);
    token_literal_index_.emplace(tokens[i].literal, i);
  }
  for (u32 i = 0; i < resources.size(); ++i)
    resource_literal_index_.emplace(resources[i].literal, i);
}

void append_payload(std::string& out, const Payload& payload) {
  const Digits serial(payload.serial);
  switch (payload.shape) {
    case Shape::absent:
      break;
    case Shape::object:
      out.append("{ \"n\": ").append(serial).append(" }");
      break;
    case Shape::text:
      out.append("\"").append(serial).append("-").append(payload.size, 'x').append("\"");
      break;
    case Shape::number:
      out.append(serial);
      break;
    case Shape::nested:
      out.append(payload.size, '[').append(serial).append(payload.size, ']');
      break;
    case Shape::rich:
      out.append("map {date:2026-01-27 : set{").append(serial).append(", \"\xC3\xA9\\ud800\"}}");
      break;
  }
}

}  // namespace sidekick::sim
