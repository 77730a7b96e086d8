#include "scenario.hpp"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::test {

namespace {

void append_list(std::string& out, std::span<const Bytes> list) {
  for (const Bytes element : list) out += compose({" ", printable(element)});
}

/// Which one, if there are several.
std::string shard_text(u32 shard) {
  return shard == 0 ? "" : compose({" of shard ", Digits(shard)});
}

}  // namespace

Scenario::Scenario(Bytes settings) {
  const Bytes separator = settings.empty() ? "" : ", ";
  const Bytes seed =
      settings.find("hash_seed") == Bytes::npos ? R"(, "hash_seed": "0123456789abcdef")" : "";
  const std::string text =
      compose({"{ \"secrets\": [\"", secret, "\"]", seed, separator, settings, " }"});
  const std::string wrong = decode_config(text, config_);
  if (!wrong.empty()) {
    std::fprintf(stderr, "a test has a wrong configuration: %s\n", wrong.c_str());
    std::abort();
  }
  start_hub();
  metrics();
  handle(input::Restored{});
}

void Scenario::start_hub() {
  constexpr u64 epoch_step = 1000;
  if (hub_ != nullptr) recording_.append_hash(trace_, *hub_);
  recording_ = trace::Recording();
  hub_ = std::make_unique<Hub>(config_);
  trace::append_header(trace_, config_);
  trace_ += '\n';
  handle(input::Begin{hubs_++ * epoch_step});
}

std::string Scenario::trace() const {
  std::string text = trace_;
  recording_.append_hash(text, *hub_);
  return text;
}

std::string Scenario::open(ClientId client) {
  client_rows_[client];  // before the input: it may close a client that is rejected
  return handle(input::ClientOpened{client});
}

std::string Scenario::frame(ClientId client, Bytes bytes, bool is_text) {
  return handle(input::ClientFrame{client, bytes, is_text});
}

std::string Scenario::close(ClientId client) {
  client_rows_.erase(client);
  return handle(input::ClientClosed{client});
}

std::string Scenario::lag(ClientId client, u32 buffered_bytes) {
  return handle(input::ClientLagging{client, buffered_bytes});
}

std::string Scenario::post(Bytes path, Bytes body, Bytes authorization) {
  return request("POST", path, authorization, body, static_cast<u32>(body.size()));
}

std::string Scenario::request(Bytes method, Bytes path, Bytes authorization, Bytes body,
                              u32 body_bytes, Bytes headers) {
  return handle(
      input::HttpRequest{++last_request_, body_bytes, method, path, authorization, body, headers});
}

std::string Scenario::admit(const input::HttpRequest& request) {
  static constexpr Bytes kinds[] = {
#define SIDEKICK_VERDICT(name, number) #name,
#include "sidekick/border.def"
  };
  const Verdict verdict = hub_->admit(request);
  std::string out(kinds[static_cast<u32>(verdict.kind)]);
  if (verdict.kind == VerdictKind::body) out += compose({" ", Digits(verdict.body_bytes_max)});
  if (!verdict.protocol.empty()) out += compose({" ", verdict.protocol});
  return out + '\n';
}

std::string Scenario::metrics() {
  std::string text;
  hub_->append_metrics(text);
  std::set<std::string> lines;
  std::string out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    constexpr Bytes prefix = "sidekick_";
    if (!Bytes(line).starts_with(prefix)) continue;
    if (!seen_metrics_.contains(line)) out += line.substr(prefix.size()) + '\n';
    lines.insert(std::move(line));
  }
  seen_metrics_ = std::move(lines);
  return out;
}

std::string Scenario::forward_done(ForwardId forward, u32 status, Bytes body, Outcome outcome) {
  return handle(input::ForwardDone{forward, status, body, static_cast<u32>(outcome)});
}

std::string Scenario::not_stored(ClientId client, Bytes key) {
  return handle(input::NotStored{client, client == 0 ? last_request_ : 0, key});
}

std::string Scenario::timer() { return handle(input::TimerFired{}); }

std::string Scenario::restart(const std::set<ClientId>& lost,
                              const std::vector<std::pair<std::string, TokenRow>>& written) {
  for (const ClientId client : lost) client_rows_.erase(client);
  for (const auto& [name, row] : written) {
    constexpr Bytes client = "client ";
    if (name.starts_with(client)) {
      client_rows_[static_cast<ClientId>(std::strtoul(name.c_str() + client.size(), nullptr, 10))] =
          row.record;
    } else {
      token_rows_[name] = row;
    }
  }
  start_hub();
  std::string out;
  // Copies: a restored record may itself change the rows.
  for (const auto& [key, row] : std::map(token_rows_)) out += restore_token(key, row);
  for (const auto& [client, record] : std::map(client_rows_)) out += restore_client(client, record);
  return out + handle(input::Restored{});
}

std::string Scenario::restore_token(Bytes key, const TokenRow& row) {
  token_rows_[std::string(key)] = row;
  return handle(input::RestoreToken{row.state, row.expires_at, key, row.record});
}

std::string Scenario::restore_client(ClientId client, Bytes record) {
  client_rows_[client] = record;
  return handle(input::RestoreClient{client, record});
}

std::string Scenario::handle(const Input& input) {
  hub_->handle(now_, input, actions_);
  recording_.append(trace_, *hub_, now_, input, actions_);
  return perform();
}

std::string Scenario::perform() {
  std::string out;
  for (const Action& action : actions_) {
    append_line(out, action);
    switch (action.tag) {
      case ActionTag::put_token:
        token_rows_[std::string(action.put_token.key)] = {action.put_token.state,
                                                          action.put_token.expires_at,
                                                          std::string(action.put_token.record)};
        break;
      case ActionTag::touch_token: {
        const auto row = token_rows_.find(std::string(action.touch_token.key));
        SIDEKICK_CHECK(row != token_rows_.end());
        row->second.state = action.touch_token.state;
        row->second.expires_at = action.touch_token.expires_at;
        break;
      }
      case ActionTag::erase_token:
        token_rows_.erase(std::string(action.erase_token.key));
        break;
      case ActionTag::attach_client:
        if (action.attach_client.append == 0) client_rows_[action.attach_client.client].clear();
        client_rows_[action.attach_client.client] += action.attach_client.record;
        break;
      case ActionTag::close:
        client_rows_.erase(action.close.client);
        break;
      case ActionTag::send:
      case ActionTag::respond:
      case ActionTag::forward:
      case ActionTag::cancel_forward:
      case ActionTag::set_timer:
      case ActionTag::engine_run:
      case ActionTag::engine_join:
      case ActionTag::engine_leave:
        break;
    }
  }
  return out;
}

std::string Scenario::token_state(u32 state, Millis expires_at) const {
  static constexpr Bytes names[] = {"free", "held", "subscribed"};
  SIDEKICK_CHECK(state < std::size(names) && (expires_at != 0) == (state == 0));
  return state == 0 ? compose({"free until +", Digits(expires_at - now_)})
                    : std::string(names[state]);
}

/// An action is durable if and only if its sender gets an answer that depends on it.
void Scenario::check_durable(const Action& action) {
  switch (action.tag) {
    case ActionTag::put_token:
      SIDEKICK_CHECK(action.put_token.durable == 1);
      return;
    case ActionTag::touch_token:
      SIDEKICK_CHECK(action.touch_token.durable == (action.touch_token.state != 0));
      return;
    case ActionTag::attach_client:
      // A whole record that is not: append_line shows it.
      SIDEKICK_CHECK(action.attach_client.record.empty()
                         ? action.attach_client.durable == 0
                         : action.attach_client.durable == 1 || action.attach_client.append == 0);
      return;
    default:
      return;  // erase_token: append_line shows it
  }
}

void Scenario::append_line(std::string& out, const Action& action) {
  check_durable(action);
  const auto code_of = [](ErrorCode code) {
    return code == ErrorCode::ok ? std::string() : compose({"[", name_of(code), "] "});
  };
  switch (action.tag) {
    case ActionTag::put_token:
      out += compose({"put_token ", printable(action.put_token.key), " ",
                      token_state(action.put_token.state, action.put_token.expires_at), " ",
                      printable(action.put_token.record)});
      break;
    case ActionTag::touch_token:
      out += compose({"touch_token ", printable(action.touch_token.key), " ",
                      token_state(action.touch_token.state, action.touch_token.expires_at)});
      break;
    case ActionTag::erase_token:
      out += compose({"erase_token ", printable(action.erase_token.key),
                      action.erase_token.durable == 1 ? " durably" : ""});
      break;
    case ActionTag::attach_client:
      if (action.attach_client.durable == 0 && !action.attach_client.record.empty())
        out += "not durably: ";
      out += compose({action.attach_client.append == 0 ? "attach " : "attach_more ",
                      Digits(action.attach_client.client), " ",
                      printable(action.attach_client.record)});
      break;
    case ActionTag::send:
      out += "send";
      for (const u32 client : action.send.clients) out += compose({" ", Digits(client)});
      out += compose({" ", code_of(action.send.code), printable(action.send.text)});
      break;
    case ActionTag::respond: {
      const action::Respond& respond = action.respond;
      SIDEKICK_CHECK(respond.request != 0 && respond.request <= last_request_);
      out += "respond ";
      if (respond.request != last_request_)
        out += compose({"to request ", Digits(respond.request), ": "});
      out += compose({Digits(respond.status), " ", code_of(respond.code)});
      if (respond.delay_ms != 0) out += compose({"(after ", Digits(respond.delay_ms), " ms) "});
      if (!respond.header.empty()) out += compose({"(", respond.header, ") "});
      if (respond.content_type != "text/plain; charset=utf-8")
        out += compose({"(", respond.content_type, ") "});
      out += printable(respond.body);
      break;
    }
    case ActionTag::forward:
      SIDEKICK_CHECK(action.forward.timeout_ms == config_.forward_timeout_ms);
      out += compose(
          {"forward ", Digits(action.forward.forward), " ", printable(action.forward.body)});
      break;
    case ActionTag::cancel_forward:
      out += compose({"cancel_forward ", Digits(action.cancel_forward.forward)});
      break;
    case ActionTag::engine_run: {
      const action::EngineRun& run = action.engine_run;
      out += compose({"run ", Digits(run.call), shard_text(run.shard), " ", run.script});
      append_list(out, run.args);
      break;
    }
    case ActionTag::engine_join:
      out +=
          compose({"join ", Digits(action.engine_join.call), shard_text(action.engine_join.shard)});
      append_list(out, action.engine_join.topics);
      break;
    case ActionTag::engine_leave:
      out += compose({"leave", shard_text(action.engine_leave.shard)});
      append_list(out, action.engine_leave.topics);
      break;
    case ActionTag::close:
      SIDEKICK_CHECK(action.close.reason.size() <=
                     123);  // RFC 6455 section 5.5: a control frame has at most 125 bytes
      out += compose({"close ", Digits(action.close.client), " ", Digits(action.close.code), " ",
                      code_of(action.close.why), printable(action.close.reason)});
      break;
    case ActionTag::set_timer:
      SIDEKICK_CHECK(action.set_timer.at_ms >= now_);
      out += compose({"set_timer +", Digits(action.set_timer.at_ms - now_)});
      break;
  }
  out += '\n';
}

std::string printable(Bytes text) {
  constexpr char hex[] = "0123456789abcdef";
  const bool is_utf8 = ion::is_utf8(text);
  std::string out;
  for (const char c : text) {
    const u8 byte = static_cast<u8>(c);
    if (byte >= 0x20 && byte != 0x7F && (byte < 0x80 || is_utf8)) {
      out += c;
    } else {
      out.append("\\x").append(1, hex[byte >> 4]).append(1, hex[byte & 15]);
    }
  }
  return out;
}

std::pair<u64, u64> seed_range(u64 count) {
  const char* seed = std::getenv("SEED");
  if (seed == nullptr) return {1, count};
  const u64 only = std::strtoull(seed, nullptr, 10);
  return {only, only};
}

std::string repeat(Bytes part, u64 count) {
  std::string out;
  out.reserve(part.size() * count);
  for (u64 i = 0; i < count; ++i) out += part;
  return out;
}

}  // namespace sidekick::test
