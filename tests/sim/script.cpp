#include "script.hpp"

#include "sidekick/text.hpp"

namespace sidekick::sim {

namespace {

/// Writes `"name": ` before the value that the caller appends.
class Members {
 public:
  explicit Members(std::string& out) : out_(out) {}

  std::string& add(const char* name) {
    out_ += is_first_ ? "\"" : ", \"";
    is_first_ = false;
    return out_.append(name).append("\": ");
  }

 private:
  std::string& out_;
  bool is_first_ = true;
};

void add_token(Members& members, Flaw flaw, const Word& word) {
  switch (flaw) {
    case Flaw::no_token:
      return;
    case Flaw::token_number:
      members.add("token") += "17";
      return;
    case Flaw::empty_token:
      members.add("token") += "\"\"";
      return;
    case Flaw::half_surrogate:
      members.add("token") += "\"a\\ud800\"";
      return;
    case Flaw::padded:
      members.add("token") += word.alias;
      return;
    default:
      members.add("token") += word.literal;
      return;
  }
}

void add_scope(Members& members, Flaw flaw, const ScopeWords& scope, u32 order) {
  if (flaw != Flaw::no_channel)
    members.add("channel") += flaw == Flaw::padded ? scope.channel.alias : scope.channel.literal;
  if (flaw == Flaw::no_params) return;
  std::string& out = members.add("params");
  if (flaw == Flaw::params_array) {
    out += "[]";
    return;
  }
  out += scope.params_text[scope.order_of(order)];
  if (flaw != Flaw::param_number && flaw != Flaw::param_twice) return;
  out.pop_back();
  if (!scope.params.empty()) out += ", ";
  out += flaw == Flaw::param_number ? "\"zz\": 1 }" : "\"zz\": \"\", \"zz\": \"\" }";
}

void add_resources(Members& members, Flaw flaw, const Op& op, const Words& words) {
  if (flaw == Flaw::no_resources) return;
  std::string& out = members.add("resources");
  if (flaw == Flaw::resources_object) {
    out += "{}";
    return;
  }
  out += '[';
  u32 at = op.first;
  for (u32 i = 0; i < op.count; ++i, at += op.stride) {
    if (i > 0) out += flaw == Flaw::padded ? " ,\n" : ", ";
    const Word& word = words.resources[at % words.resources.size()];
    out += flaw == Flaw::padded ? word.alias : word.literal;
  }
  if (flaw == Flaw::resource_number) out += op.count > 0 ? ", 1" : "1";
  out += ']';
}

void add_id(Members& members, Flaw flaw, u64 id) {
  switch (flaw) {
    case Flaw::again_alone:
      return;
    case Flaw::id_zero:
      members.add("id") += "0";
      return;
    case Flaw::id_text:
      members.add("id") += "\"5\"";
      return;
    case Flaw::id_large:
      members.add("id").append(Digits(number_max + 1));
      return;
    default:
      if (id != 0) members.add("id").append(Digits(id));
      if (flaw == Flaw::id_twice) members.add("id").append(Digits(id));
      return;
  }
}

void add_hello(Members& members, Flaw flaw, const Op& op, const Words& words) {
  static constexpr Bytes odd[] = {".", "\\u0041", "\xC3\xA9", " "};
  std::string session = words.sessions[op.session];
  if (flaw == Flaw::hello_short) session.resize(15);
  if (flaw == Flaw::hello_long) session.resize(65, 'z');
  if (flaw == Flaw::hello_odd) session += odd[op.serial % std::size(odd)];
  const std::string hello = flaw == Flaw::hello_number ? "5" : compose({"\"", session, "\""});
  members.add("hello") += hello;
  if (flaw == Flaw::hello_twice) members.add("hello") += hello;
}

}  // namespace

void append_epoch(std::string& out, const EpochFacts& epoch) {
  std::string digits;
  for (u64 rest = epoch.hub; rest != 0 || digits.empty(); rest /= 36)
    digits.insert(digits.begin(), "0123456789abcdefghijklmnopqrstuvwxyz"[rest % 36]);
  out += digits;
  if (epoch.ahead_ms != 0) out.append(".").append(Digits(epoch.ahead_ms));
}

namespace {

bool may_have_since(const Op& op) {
  return op.kind == OpKind::frame &&
         (op.verb == Verb::subscribe || (op.verb == Verb::listen && !says_hello(op)));
}

void add_position(Members& members, Flaw flaw, const Op& op) {
  const u32 times = flaw == Flaw::since_twice ? 2 : op.has_since ? 1 : 0;
  if (flaw == Flaw::since_text) {
    members.add("since") += "\"1\"";
  } else if (flaw == Flaw::since_negative) {
    members.add("since") += "-1";
  } else {
    for (u32 i = 0; i < times; ++i) members.add("since").append(Digits(op.since));
  }
  if (flaw == Flaw::epoch_number) {
    members.add("epoch") += "7";
  } else if (op.has_epoch) {
    std::string& out = members.add("epoch") += "\"";
    append_epoch(out, op.epoch);
    out += "\"";
  }
}

}  // namespace

bool says_hello(const Op& op) {
  return op.kind == OpKind::frame && op.verb == Verb::listen && op.session != no_one;
}

Flaw flaw_of(const Op& op) {
  switch (flaw_facts[static_cast<u32>(op.flaw)].stage) {
    case Stage::none:
    case Stage::syntax:
    case Stage::object:
    case Stage::twice:
      return op.flaw;
    case Stage::id:
      if (op.flaw == Flaw::hello_twice) return says_hello(op) ? op.flaw : Flaw::none;
      if (op.flaw == Flaw::id_twice && op.id == 0) return Flaw::none;
      if (op.flaw == Flaw::since_twice && !may_have_since(op)) return Flaw::none;
      return op.kind == OpKind::frame ? op.flaw : Flaw::none;
    case Stage::extension:
      switch (op.flaw) {
        case Flaw::since_text:
        case Flaw::since_negative:
        case Flaw::epoch_number:
          return may_have_since(op) ? op.flaw : Flaw::none;
        case Flaw::again_number:
        case Flaw::again_alone:
          return op.kind == OpKind::frame && op.verb == Verb::send ? op.flaw : Flaw::none;
        default:
          return says_hello(op) ? op.flaw : Flaw::none;
      }
    case Stage::type:
      return op.kind == OpKind::frame ? op.flaw : Flaw::none;
    case Stage::token:
      return uses_token(op.verb) ? op.flaw : Flaw::none;
    case Stage::channel:
    case Stage::params:
      return uses_scope(op.verb) ? op.flaw : Flaw::none;
    case Stage::resources:
      return uses_resources(op.verb) ? op.flaw : Flaw::none;
  }
  trap();
}

namespace {

/// An unfinished character, overlong forms, a surrogate, and values above 10FFFF.
constexpr Bytes not_utf8[] = {"\xC3",         "\xFF",
                              "\xC0\xAF",     "\xE0\x80\xAF",
                              "\xED\xA0\x80", "\xF0\x80\x80\xAF",
                              "\xE2\x82",     "\xF4\x90\x80\x80"};

}  // namespace

bool is_utf8(const Op& op) {
  const Flaw flaw = flaw_of(op);
  return flaw != Flaw::bad_utf8 && (flaw != Flaw::garbage || op.serial % 4 < 2);
}

void write_message(std::string& out, const Op& op, const Words& words) {
  const Flaw flaw = flaw_of(op);
  if (flaw == Flaw::array) {
    out = "[{}]";
    return;
  }
  if (flaw == Flaw::garbage) {
    out.assign("\x01\xFE{", op.serial % 4);  // possibly empty
    return;
  }
  out = flaw == Flaw::padded ? " {\t" : "{ ";
  Members members(out);
  if (flaw == Flaw::padded) members.add("extra") += "[ set { } ]";
  if (op.kind == OpKind::frame && flaw != Flaw::no_type) {
    std::string& type = members.add("type");
    if (flaw == Flaw::type_number) {
      type += "1";
    } else {
      type.append("\"")
          .append(flaw == Flaw::unknown_type ? "shout" : verb_names[static_cast<u8>(op.verb)])
          .append("\"");
    }
  }
  if (op.kind == OpKind::frame) add_id(members, flaw, op.id);
  if (uses_token(op.verb)) add_token(members, flaw, words.tokens[op.token]);
  if (uses_scope(op.verb)) {
    add_scope(members, flaw, words.scopes[op.scope], op.order);
    if (op.payload.shape != Shape::absent)
      append_payload(members.add(op.verb == Verb::connection ? "context" : "data"), op.payload);
  }
  if (uses_resources(op.verb)) add_resources(members, flaw, op, words);
  if (says_hello(op)) add_hello(members, flaw, op, words);
  if (may_have_since(op)) add_position(members, flaw, op);
  if (op.kind == OpKind::frame && op.verb == Verb::send) {
    if (flaw == Flaw::again_number) {
      members.add("again") += "1";
    } else if (op.is_repeat || flaw == Flaw::again_alone) {
      members.add("again") += "true";
    }
  }
  if (flaw == Flaw::twice) members.add("data").append("1, \"data\": 2");
  if (flaw == Flaw::bad_utf8)
    members.add("extra")
        .append("\"")
        .append(not_utf8[op.serial % std::size(not_utf8)])
        .append("\"");
  out += flaw == Flaw::cut_off    ? ""
         : flaw == Flaw::trailing ? "} x"
         : flaw == Flaw::padded   ? " } \n"
                                  : " }";
}

u32 status_of(const Op& op) {
  static constexpr u32 right[] = {204, 200, 299};
  static constexpr u32 wrong[] = {400, 199, 300, 304, 500};
  switch (op.reply) {
    case Reply::done:
      return right[op.serial % std::size(right)];
    case Reply::client_fault:
    case Reply::server_fault:
    case Reply::sidekick_fault:
    case Reply::edge_fault:
    case Reply::long_fault:
    case Reply::odd_fault:
    case Reply::half_fault:
    case Reply::number_fault:
    case Reply::list:
    case Reply::trailing:
    case Reply::garbage:
      return wrong[op.serial % std::size(wrong)];
    case Reply::unreachable:
    case Reply::broken_off:
    case Reply::host_timeout:
    case Reply::no_app_server:
      return 0;
    case Reply::count:
      break;
  }
  trap();
}

Outcome outcome_of(Reply reply) {
  switch (reply) {
    case Reply::unreachable:
      return Outcome::unreachable;
    case Reply::broken_off:
      return Outcome::broken_off;
    case Reply::host_timeout:
      return Outcome::timed_out;
    case Reply::no_app_server:
      return Outcome::no_app_server;
    default:
      return Outcome::answered;
  }
}

namespace {

constexpr Bytes fault_start = "{ \"fault\": \"client\", \"message\": \"";
constexpr Bytes fault_end = "\" }";

}  // namespace

u32 edge_message_bytes(const Config& config) {
  return config.forward_answer_bytes_max - static_cast<u32>(fault_start.size() + fault_end.size());
}

void write_reply(std::string& out, Reply reply, const Config& config) {
  const auto write_fault_of = [&out](u32 message_bytes) {
    out = fault_start;
    out.append(message_bytes, 'm').append(fault_end);
  };
  switch (reply) {
    case Reply::done:
      out = "{ \"fault\": \"client\", \"message\": \"not read: all is well\" }";
      return;
    case Reply::client_fault:
      out = "{ \"fault\": \"client\", \"message\": \"no \\\"entry\\\"\" }";
      return;
    case Reply::server_fault:
      out = "{\"message\":\"broken\",\"fault\":\"server\"}";
      return;
    case Reply::sidekick_fault:
      out = "{ \"fault\": \"sidekick\", \"message\": \"\" }";
      return;
    case Reply::edge_fault:
      return write_fault_of(edge_message_bytes(config));
    case Reply::long_fault:
      return write_fault_of(edge_message_bytes(config) + 1);
    case Reply::odd_fault:
      out = "{ \"fault\": \"who\", \"message\": \"x\" }";
      return;
    case Reply::half_fault:
      out = "{ \"fault\": \"client\" }";
      return;
    case Reply::number_fault:
      out = "{ \"fault\": \"client\", \"message\": 17 }";
      return;
    case Reply::list:
      out = "[{ \"fault\": \"client\", \"message\": \"x\" }]";
      return;
    case Reply::trailing:
      out = "{ \"fault\": \"client\", \"message\": \"x\" } x";
      return;
    case Reply::garbage:
      out = "<html>\xFF";
      return;
    case Reply::unreachable:
    case Reply::broken_off:
    case Reply::host_timeout:
    case Reply::no_app_server:
      out = "";
      return;
    case Reply::count:
      trap();
  }
}

// Several spellings of a right and of a wrong value; `serial` decides.

namespace {

constexpr Bytes right_upgrades[] = {"Upgrade: websocket\nConnection: Upgrade\n",
                                    "upgrade: h2c, WebSocket\nconnection: keep-alive, upgrade\n",
                                    "UPGRADE:websocket\nConnection: close\nConnection:UPGRADE\n"};
constexpr Bytes wrong_upgrades[] = {
    "", "Upgrade: h2c\nConnection: Upgrade\n", "Upgrade: websocket\nConnection: keep-alive\n",
    "Upgrade: websocket\n", "Upgrade: websockets\nConnection: Upgrade\n"};
constexpr Bytes right_versions[] = {"Sec-WebSocket-Version: 13\n", "sec-websocket-version:13 \n"};
constexpr Bytes wrong_versions[] = {
    "", "Sec-WebSocket-Version: 8\n", "Sec-WebSocket-Version: 13, 8\n",
    "Sec-WebSocket-Version: 13\nSec-WebSocket-Version: 13\n", "Sec-WebSocket-Version: \n"};
constexpr Bytes right_keys[] = {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n",
                                "sec-websocket-key:+/++++++++++++++++++++==\n"};
constexpr Bytes wrong_keys[] = {
    "", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-==\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"};

struct Offer {
  Bytes lines;
  const char* first;
};
constexpr Offer right_offers[] = {
    {"", ""},
    {"Sec-WebSocket-Protocol: covenant\n", "covenant"},
    {"sec-websocket-protocol:a!, b\n", "a!"},
    {"Sec-WebSocket-Protocol: , ,x\nSec-WebSocket-Protocol: y\n", "x"},
    {"Sec-WebSocket-Protocol: \n", ""}};
constexpr Bytes wrong_offers[] = {"Sec-WebSocket-Protocol: a b\n",
                                  "Sec-WebSocket-Protocol: a, b;c\n",
                                  "Sec-WebSocket-Protocol: \"a\"\n",
                                  "Sec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: \xC3\xA9\n"};

template <std::size_t right_count, std::size_t wrong_count>
Bytes choose(bool is_wrong, u32 serial, const Bytes (&right)[right_count],
             const Bytes (&wrong)[wrong_count]) {
  return is_wrong ? wrong[serial % wrong_count] : right[serial % right_count];
}

}  // namespace

const OriginFacts origins[] = {
    {"", 0},
    {"https://app.example.com", 1},
    {"HTTPS://App.Example.COM", 1},
    {"https://a.example.org", 2},
    {"https://a.b.example.org", 2},
    {"null", 4},
    {"https://example.org", 0},
    {"https://evilexample.org", 0},
    {"https://.example.org", 0},
    {"http://a.example.org", 0},
    {"https://app.example.com.evil.net", 0},
    {"https://app.example.com:8443", 0},
    {"http://app.example.com", 0},
};

const char* protocol_of(const Op& op) {
  return right_offers[op.serial % std::size(right_offers)].first;
}

void write_knock(std::string& out, const Op& op) {
  const auto has = [&op](KnockFlaw flaw) { return (op.knock_flaws & flaw) != 0; };
  const u32 serial = op.serial;
  out = choose(has(wrong_upgrade), serial, right_upgrades, wrong_upgrades);
  if (out.empty()) return;  // no Upgrade header: a host passes no lines at all
  out += choose(has(wrong_version), serial, right_versions, wrong_versions);
  out += choose(has(wrong_key), serial, right_keys, wrong_keys);
  out += has(wrong_protocols) ? wrong_offers[serial % std::size(wrong_offers)]
                              : right_offers[serial % std::size(right_offers)].lines;
  if (has(upgrade_with_body) && serial % 2 == 0) out += "Transfer-Encoding: chunked\n";
  const Bytes origin = origins[op.origin].origin;
  if (!origin.empty()) out.append("Origin: ").append(origin).append("\n");
}

}  // namespace sidekick::sim
