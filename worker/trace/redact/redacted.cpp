#include "redact/redacted.hpp"

#include <algorithm>
#include <optional>

#include "base/hash_index.hpp"
#include "base/numbers.hpp"
#include "hub/stamps.hpp"
#include "sidekick/border.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"
#include "wire/message.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes routes[] = {"/connection", "/resources", "/message", "/health",
                            "/ready",      "/metrics",   "/socket"};
constexpr Bytes words[] = {"null",      "true", "false", "NaN", "Infinity",
                           "-Infinity", "map",  "set",   "date"};
constexpr Bytes schemes[] = {"http", "https", "ws", "wss"};
/// What the hub knows in the headers of an upgrade request, and what usually stands beside it.
constexpr Bytes header_words[] = {"websocket", "upgrade", "keep", "alive",   "close", "h2c",
                                  "http",      "https",   "null", "chunked", "13"};
/// Members whose texts the hub compares with others, one by one.
constexpr Bytes compared_members[] = {"token",          "channel", "params",      "resources",
                                      "resources_gone", "tokens",  "tokens_gone", "hello",
                                      "session",        "epoch"};
/// Numbers and positions of the protocol.
constexpr Bytes kept_members[] = {"id", "since", "registered_at"};

bool is_one_of(Bytes text, const auto& list) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
std::string lower(Bytes text) {
  std::string all;
  for (const char c : text) all += lower(c);
  return all;
}
/// Of a word; anything that is not ASCII is one.
bool is_word(char c) {
  return static_cast<u8>(c) >= 0x80 || is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

/// An epoch that a hub has drawn, or has made of the epochs of several shards.
bool is_drawn(Bytes epoch) {
  constexpr std::size_t digits_max = 20;  // of a hash
  Epoch drawn;
  return decode_epoch(epoch, drawn) || (!epoch.empty() && epoch.size() <= digits_max &&
                                        std::all_of(epoch.begin(), epoch.end(), is_digit));
}

std::string decoded(Bytes raw) {
  std::string text;
  ion::append_decoded(text, raw);
  return text;
}

/// Position of the closing quote of the string that begins before `at`, or the end.
std::size_t end_of_string(Bytes text, std::size_t at) {
  while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
  return std::min(at, text.size());
}

/// Inverse of name_channel_topic. Returns false if it makes no such name.
bool read_channel_topic(Bytes name, std::string& channel,
                        std::vector<std::pair<std::string, std::string>>& params) {
  constexpr Bytes prefix = "channel:";
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  const auto read_until = [&name](Bytes ends, std::string& out) {
    for (; !name.empty() && ends.find(name[0]) == Bytes::npos; name.remove_prefix(1)) {
      if (name[0] == '\\' && name.size() > 1) name.remove_prefix(1);
      out += name[0];
    }
    const char end = name.empty() ? '\0' : name[0];
    if (!name.empty()) name.remove_prefix(1);
    return end;
  };
  if (read_until("/", channel) != '/') return false;
  while (!name.empty()) {
    auto& [key, value] = params.emplace_back();
    if (read_until(":", key) != ':') return false;
    read_until(",", value);
  }
  return true;
}

std::string channel_topic(Bytes channel,
                          const std::vector<std::pair<std::string, std::string>>& params) {
  Scope scope{channel, {}, true};
  for (const auto& [name, value] : params) scope.params.push_back({name, value});
  std::string topic;
  name_channel_topic(topic, scope);
  return topic;
}

/// The texts of the member `params` of an object.
std::vector<std::pair<std::string, std::string>> params_of(Bytes object) {
  std::vector<std::pair<std::string, std::string>> params;
  ion::Reader reader(object, ion::depth_ceiling);
  ion::Slice key;
  ion::Slice value;
  for (reader.enter_object(); reader.next_member(key) && reader.read(value);) {
    if (decoded(key.raw) != "params" || value.kind != ion::Kind::object) continue;
    ion::Reader inner(value.raw, ion::depth_ceiling);
    for (inner.enter_object(); inner.next_member(key) && inner.read(value);)
      params.emplace_back(decoded(key.raw), decoded(value.raw));
    break;
  }
  return params;
}

}  // namespace

std::string Redacted::text(Bytes text) { return part(text, Writing::plain, nullptr); }

std::string Redacted::token(Bytes token) {
  const Name name = name_of_token();
  return part(token, Writing::plain, &name);
}

std::string Redacted::topic(Bytes name) {
  constexpr Bytes resource = "resource:";
  if (name.starts_with(resource)) {
    const Name of_resource = name_of_resource();
    return std::string(resource) + part(name.substr(resource.size()), Writing::plain, &of_resource);
  }
  std::string channel;
  Params params;
  if (!read_channel_topic(name, channel, params)) return text(name);
  const Name of_channel = name_of_channel(params);
  return channel_topic(part(channel, Writing::plain, &of_channel), with_stand_ins(params));
}

std::string Redacted::epoch(Bytes epoch) {
  return is_kept_epoch(epoch) ? std::string(epoch) : text(epoch);
}

bool Redacted::is_kept_epoch(Bytes epoch) const {
  return is_drawn(epoch) || (!engine_epoch_.empty() && epoch == engine_epoch_);
}

/// A hub names a client that has not said hello by its own epoch, or by its node.
std::string Redacted::session(Bytes session) {
  const std::size_t dot = std::min(session.find('.'), session.size());
  const Bytes hub = session.substr(0, dot);
  u64 number = 0;
  const bool is_node = hub.size() == 16 && hub.find_first_not_of("0123456789abcdef") == Bytes::npos;
  const bool is_of_hub = dot < session.size() && (is_node || decode_number(hub, 10, 16, number)) &&
                         decode_number(session.substr(dot + 1), 10, 16, number);
  return is_of_hub ? std::string(session) : text(session);
}

Redacted::Name Redacted::name_of_token() {
  const auto itself = [](Bytes token) { return std::string(token); };
  return {itself, itself};
}

Redacted::Name Redacted::name_of_resource() {
  const auto topic = [](Bytes resource) {
    std::string name;
    name_resource_topic(name, resource);
    return name;
  };
  return {topic, topic};
}

/// The params have the same stand-ins everywhere, so the channel's depends on them.
Redacted::Name Redacted::name_of_channel(const Params& params) {
  return {
      [params](Bytes channel) { return channel_topic(channel, params); },
      [params = with_stand_ins(params)](Bytes channel) { return channel_topic(channel, params); }};
}

Redacted::Params Redacted::with_stand_ins(const Params& params) {
  Params out;
  for (const auto& [name, value] : params) out.emplace_back(text(name), text(value));
  return out;
}

std::string Redacted::part(Bytes written, Writing writing, const Name* name) {
  stand_in_.add(written, writing);
  if (name == nullptr || shards_ < 2) return stand_in_.finish();
  const auto plain = [writing](Bytes text) {
    return writing == Writing::string ? decoded(text) : std::string(text);
  };
  const u64 shard = hash_bytes(0, name->original(plain(written))) % shards_;
  return stand_in_.finish(
      [&](Bytes text) { return hash_bytes(0, name->stand_in(plain(text))) % shards_ == shard; });
}

std::string Redacted::method(Bytes method) {
  return is_method(method) ? std::string(method) : text(method);
}

/// Keeps a known path; replaces the rest, and the host before it. Reads paths as the hub does.
std::string Redacted::path(Bytes path) {
  const std::size_t end = std::min(path.find("://"), path.size());
  const bool is_absolute = end < path.size() && is_one_of(lower(path.substr(0, end)), schemes);
  const std::size_t scheme = is_absolute ? end + 3 : 0;
  const std::size_t begin =
      scheme == 0 ? 0 : std::min(path.find_first_of("/?#", scheme), path.size());
  const std::size_t query = std::min(path.find_first_of("?#", begin), path.size());
  const Bytes route = path.substr(begin, query - begin);
  std::string host = text(path.substr(scheme, begin - scheme));
  // A host ends at these.
  for (char& c : host) c = c == '?' || c == '#' ? '!' : c;
  return compose({path.substr(0, scheme), host,
                  is_one_of(route, routes) ? std::string(route) : text(route),
                  path.substr(query, query < path.size() ? 1 : 0),
                  query < path.size() ? text(path.substr(query + 1)) : ""});
}

std::string Redacted::headers(Bytes lines) {
  std::string out;
  while (!lines.empty()) {
    const Bytes line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    const std::size_t name = std::min(line.find(':'), line.size());
    // A known name stays; an unknown one is text of a peer.
    out += is_one_of(line.substr(0, name), request_headers) ? std::string(line.substr(0, name))
                                                            : each_word(line.substr(0, name));
    out += each_word(line.substr(name)) + "\n";
  }
  return out;
}

/// Ports stay: some are wrong in an origin.
std::string Redacted::each_word(Bytes text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (!is_word(text[at])) {
      out += text[at++];
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::string word = lower(text.substr(at, end - at));
    const bool is_port =
        at > 0 && text[at - 1] == ':' && std::all_of(word.begin(), word.end(), is_digit);
    out += is_port || is_one_of(word, header_words) ? word : this->text(word);
    at = end;
  }
  return out;
}

std::string Redacted::lines(Bytes record) {
  std::string out;
  for (std::size_t at = 0; at < record.size();) {
    const std::size_t end = std::min(record.find('\n', at), record.size());
    out += document(record.substr(at, end - at));
    if (end < record.size()) out += '\n';
    at = end + 1;
  }
  return out;
}

std::string Redacted::document(Bytes text) {
  if (!ion::validate(text, ion::depth_ceiling).ok()) return refused(text);
  ion::Reader reader(text, ion::depth_ceiling);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object || !reader.enter_object()) {
    add_values(text, nullptr, nullptr);
    return stand_in_.finish();
  }
  std::string out;
  std::size_t at = 0;
  const auto keep_until = [&](const char* end) {
    const std::size_t size = static_cast<std::size_t>(end - text.data()) - at;
    out += text.substr(at, size);
    at += size;
  };
  const auto name_of = [&](Bytes member) -> std::optional<Name> {
    if (shards_ < 2) return std::nullopt;
    if (member == "token" || member == "tokens" || member == "tokens_gone") return name_of_token();
    if (member == "resources" || member == "resources_gone") return name_of_resource();
    if (member == "channel") return name_of_channel(params_of(text));
    return std::nullopt;
  };
  ion::Slice key;
  ion::Slice value;
  while (reader.next_member(key) && reader.read(value)) {
    const std::string name = decoded(key.raw);
    keep_until(key.raw.data());
    if (!is_member_name(name)) {
      stand_in_.add(key.raw, Writing::string);
      out += stand_in_.finish();
      at += key.raw.size();
    }
    const bool is_string = value.kind == ion::Kind::string;
    const Bytes whole = is_string ? Bytes(value.raw.data() - 1, value.raw.size() + 2) : value.raw;
    keep_until(whole.data());
    if (is_string && (name == "type" || name == "fault") && is_meaning(decoded(value.raw)))
      continue;
    if (value.kind == ion::Kind::number && is_one_of(name, kept_members)) continue;
    if (is_string && name == "epoch" && is_kept_epoch(value.raw)) continue;
    const bool is_compared = is_one_of(name, compared_members);
    const std::optional<Name> of_member = name_of(name);
    add_values(whole, is_compared ? &out : nullptr, of_member ? &*of_member : nullptr);
    if (!is_compared) out += stand_in_.finish();
    at += whole.size();
  }
  keep_until(text.data() + text.size());
  return out;
}

/// A valid value, as one text, or with `apart` each string and number separately. name: of each
/// string.
void Redacted::add_values(Bytes text, std::string* apart, const Name* name) {
  const auto add = [&](Bytes written, Writing writing) {
    if (apart == nullptr) return stand_in_.add(written, writing);
    *apart += part(written, writing, writing == Writing::string ? name : nullptr);
  };
  std::size_t kept = 0;
  const auto take = [&](std::size_t begin, std::size_t end, Writing writing) {
    add(text.substr(kept, begin - kept), Writing::fixed);
    add(text.substr(begin, end - begin), writing);
    kept = end;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      const std::size_t end = end_of_string(text, at + 1);
      take(at + 1, end, Writing::string);
      at = end + 1;
    } else if (is_digit(text[at]) || (text[at] == '-' && is_digit(text[at + 1]))) {
      const std::size_t end = std::min(text.find_first_not_of("0123456789+-.eE", at), text.size());
      take(at, end, Writing::number);
      at = end;
    } else if (text.substr(at).starts_with("date:")) {
      const std::size_t end = std::min(text.find_first_of(" \t\r\n,}]", at), text.size());
      take(at + 5, end, Writing::date);
      at = end;
    } else {
      ++at;
    }
  }
  add(text.substr(kept), Writing::fixed);
}

/// Keeps the reason of the error where possible: ION's punctuation and words, invalid escapes,
/// forbidden names.
std::string Redacted::refused(Bytes text) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    if (text[at] == '"') {
      stand_in_.add("\"", Writing::fixed);
      end = end_of_string(text, at + 1);
      const Bytes raw = text.substr(at + 1, end - at - 1);
      const bool is_whole = ion::validate(compose({"\"", raw, "\""}), 1).ok();
      const std::string name = is_whole ? decoded(raw) : "";
      stand_in_.add(raw, is_member_name(name) || is_meaning(name) || is_forbidden_key(name)
                             ? Writing::fixed
                             : Writing::string);
      if (end < text.size()) stand_in_.add("\"", Writing::fixed);
      end = std::min(end + 1, text.size());
    } else if (Bytes(" \t\r\n{}[]:,").find(text[at]) != Bytes::npos) {
      stand_in_.add(text.substr(at, 1), Writing::fixed);
    } else if (text.substr(at).starts_with("date:")) {
      end = std::min(text.find_first_of(" \t\r\n,}]", at), text.size());
      const Bytes date = text.substr(at + 5, end - at - 5);
      stand_in_.add("date:", Writing::fixed);
      stand_in_.add(date, ion::is_date(date) ? Writing::date : Writing::word);
    } else {
      end = std::min(text.find_first_of(" \t\r\n{}[]:,\"", at), text.size());
      const Bytes word = text.substr(at, end - at);
      stand_in_.add(word, is_one_of(word, words) ? Writing::fixed : Writing::word);
    }
    at = end;
  }
  return stand_in_.finish();
}

}  // namespace sidekick::trace
