#include "conversation.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "sidekick/text.hpp"

namespace sidekick::test {

namespace {

bool take(Bytes& text, Bytes prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_number(Bytes& text, u64& number) {
  const std::size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  if (end == 0) return false;
  number = std::strtoull(std::string(text.substr(0, end)).c_str(), nullptr, 10);
  text.remove_prefix(end);
  return true;
}

Bytes take_word(Bytes& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const Bytes word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

std::string unescape(Bytes text) {
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\\\\x")) {
      out += "\\x";
      i += 2;
    } else if (text.substr(i).starts_with("\\x") && i + 3 < text.size()) {
      out += static_cast<char>(digit(text[i + 2]) * 16 + digit(text[i + 3]));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// `a: b | c: d` as header lines. `websocket`: those of a right upgrade.
std::string headers_of(Bytes text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(" | "), text.size());
    const Bytes line = text.substr(0, end);
    text.remove_prefix(std::min(end + 3, text.size()));
    out += line == "websocket"
               ? Bytes(
                     "upgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\n"
                     "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")
               : line;
    out += '\n';
  }
  return out;
}

/// Rows written by hand, for the next restart.
using Rows = std::vector<std::pair<std::string, TokenRow>>;

std::string restart(Scenario& scenario, Bytes lost, Rows& rows) {
  std::set<ClientId> gone;
  u64 client = 0;
  while (take(lost, " ") && take_number(lost, client)) gone.insert(static_cast<ClientId>(client));
  const Rows written = std::move(rows);
  rows.clear();
  return scenario.restart(gone, written);
}

/// What the engine tells; returns false if the line is not an input.
bool say_engine(Scenario& scenario, Bytes input, std::string& out) {
  u64 number = 0;
  u32 shard = 0;
  if (take(input, "shard ") && take_number(input, number) && take(input, " "))
    shard = static_cast<u32>(number);
  if (input == "up" || input == "is as before") {
    out = scenario.handle(input::EngineUp{shard, input == "up" ? 0u : 1u});
  } else if (input == "down") {
    out = scenario.handle(input::EngineDown{shard});
  } else if (take(input, "refuses ") && take_number(input, number)) {
    const Bytes full = "OOM command not allowed when used memory > 'maxmemory'.";
    const Bytes why = take(input, ": ") ? input : full;
    out = scenario.handle(input::EngineAnswer{static_cast<u32>(number), 1, {&why, 1}});
  } else if (take(input, "answers ") && take_number(input, number)) {
    std::vector<std::string> texts;
    for (take(input, ": "); !input.empty();) {
      const std::size_t end = std::min(input.find(" | "), input.size());
      texts.push_back(unescape(input.substr(0, end)));
      input.remove_prefix(std::min(end + 3, input.size()));
    }
    const std::vector<Bytes> values(texts.begin(), texts.end());
    out = scenario.handle(input::EngineAnswer{static_cast<u32>(number), 0, values});
  } else if (take(input, "sends ")) {
    const Bytes topic = take_word(input);
    const std::string body = unescape(input);
    out = scenario.handle(input::EngineMessage{shard, topic == "inbox" ? Bytes() : topic, body});
  } else {
    return false;
  }
  return true;
}

/// Performs one input; returns false if the line is not an input.
bool say(Scenario& scenario, Bytes input, Rows& rows, std::string& out) {
  u64 number = 0;
  if (take(input, "after ") && take_number(input, number) && input == " ms") {
    scenario.after(number);
  } else if (take(input, "before ") && take_number(input, number) && input == " ms") {
    scenario.set_now(scenario.now() - number);
  } else if (input == "shutting down") {
    out = scenario.handle(input::ShuttingDown{});
  } else if (take(input, "engine ")) {
    return say_engine(scenario, input, out);
  } else if (take(input, "draining for ") && take_number(input, number) && input == " ms") {
    out = scenario.handle(input::Draining{static_cast<u32>(number)});
  } else if (input == "timer") {
    out = scenario.timer();
  } else if (input == "restart" || take(input, "restart without")) {
    out = restart(scenario, input == "restart" ? Bytes() : input, rows);
  } else if (take(input, "row ")) {
    const bool is_client = take(input, "client ");
    const Bytes key = take_word(input);
    TokenRow row;
    if (take(input, "held ")) {
      row.state = 1;
    } else if (take(input, "subscribed ")) {
      row.state = 2;
    } else if (take(input, "state ") && take_number(input, number) && take(input, " ")) {
      row.state = static_cast<u32>(number);
    } else if (take(input, "free until +") && take_number(input, number) && take(input, " ")) {
      row.expires_at = scenario.now() + number;
    }
    row.record = unescape(input);
    rows.emplace_back(compose({is_client ? "client " : "", key}), std::move(row));
  } else if (take(input, "post ")) {
    const Bytes path = take_word(input);
    out = scenario.post(path, unescape(input));
  } else if (take(input, "request ")) {
    const Bytes method = take_word(input);
    const Bytes path = take_word(input);
    if (take(input, "of ") && take_number(input, number)) {
      out = scenario.request(method, path, bearer, "", static_cast<u32>(number));
    } else if (take(input, "with ")) {
      out = scenario.request(method, path, "", "", 0, headers_of(input));
    } else {
      out = scenario.request(method, path, take(input, "as ") ? input : Bytes());
    }
  } else if (input == "metrics") {
    out = scenario.metrics();
  } else if (take(input, "admit ")) {
    input::HttpRequest request;
    request.method = take_word(input);
    request.path = take_word(input);
    if (take(input, "of ") && take_number(input, number)) {
      request.body_bytes = static_cast<u32>(number);
      take(input, " ");
    }
    if (take(input, "as ")) request.authorization = input;
    const std::string headers = take(input, "with ") ? headers_of(input) : "";
    request.headers = headers;
    out = scenario.admit(request);
  } else if (take(input, "forward ") && take_number(input, number)) {
    u64 status = 0;
    Outcome outcome = Outcome::answered;
    if (take(input, " answers ")) {
      if (!take_number(input, status)) return false;
      take(input, " ");
    } else if (input == " unreachable") {
      outcome = Outcome::unreachable;
    } else if (input == " broken off") {
      outcome = Outcome::broken_off;
    } else if (input == " timed out") {
      outcome = Outcome::timed_out;
    } else if (input == " has no app server") {
      outcome = Outcome::no_app_server;
    } else {
      return false;
    }
    const std::string body = outcome == Outcome::answered ? unescape(input) : "";
    out = scenario.forward_done(number, static_cast<u32>(status), body, outcome);
  } else if (take(input, "not stored: ")) {
    const Bytes word = take_word(input);
    out = scenario.not_stored(
        static_cast<ClientId>(std::strtoul(std::string(word).c_str(), nullptr, 10)), input);
  } else if (take_number(input, number)) {
    const ClientId client = static_cast<ClientId>(number);
    if (input == " opens") {
      out = scenario.open(client);
    } else if (input == " closes") {
      out = scenario.close(client);
    } else if (take(input, " lags ") && take_number(input, number)) {
      out = scenario.lag(client, static_cast<u32>(number));
    } else if (take(input, ": ")) {
      out = scenario.frame(client, unescape(input));
    } else if (take(input, " binary: ")) {
      out = scenario.frame(client, unescape(input), false);
    } else {
      return false;
    }
  } else {
    return false;
  }
  return true;
}

void append_lines(std::vector<std::string>& lines, const std::string& text) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
}

}  // namespace

std::vector<Conversation> parse_conversations(const std::string& text) {
  std::vector<Conversation> all;
  std::istringstream stream(text);
  u32 number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    Bytes rest = line;
    if (take(rest, "=== ")) {
      all.push_back({std::string(rest), {}, number, {}});
    } else if (!all.empty()) {
      if (take(rest, "config: ")) all.back().settings = rest;
      all.back().lines.push_back(line);
    }
  }
  return all;
}

std::vector<std::string> hold(const Conversation& conversation, std::string& trace,
                              std::string& wrong) {
  Scenario scenario(conversation.settings);
  Rows rows;
  std::vector<std::string> lines;
  for (const std::string& line : conversation.lines) {
    Bytes input = line;
    if (line.empty() || input.starts_with("#") || input.starts_with("config: ")) {
      lines.push_back(line);
    } else if (take(input, "> ")) {
      lines.push_back(line);
      std::string out;
      if (!say(scenario, input, rows, out))
        wrong = compose({"this is no input that conversations/README.md knows: ", line});
      append_lines(lines, out);
    }
  }
  trace += scenario.trace();
  return lines;
}

bool is_updating() {
  const char* update = std::getenv("UPDATE");
  return update != nullptr && Bytes(update) == "1";
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string check_golden(const std::string& path, const std::string& text) {
  if (is_updating()) {
    write_file(path, text);
    return {};
  }
  const std::string golden = read_file(path);
  if (golden == text) return {};
  std::istringstream expected(golden);
  std::istringstream actual(text);
  for (u32 line = 1;; ++line) {
    std::string left = "(the end)";
    std::string right = left;
    const bool has_left = static_cast<bool>(std::getline(expected, left));
    const bool has_right = static_cast<bool>(std::getline(actual, right));
    if (left == right && has_left && has_right) continue;
    return compose({path, ":", Digits(line), "\n  expected: ", has_left ? left : "(the end)",
                    "\n  got:      ", has_right ? right : "(the end)",
                    "\n  if it should be so: UPDATE=1, and review the diff"});
  }
}

}  // namespace sidekick::test
