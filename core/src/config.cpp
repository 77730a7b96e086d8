// Configuration: every value checked against limits.def, every complaint with the name and what was expected.
#include "sidekick/config.hpp"

#include <algorithm>
#include <bitset>

#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

namespace sidekick {

namespace {

// What must hold between the defaults; decode_config checks the same of what is configured.
constexpr bool is_consistent(const u32 client_buffer_bytes_max, const u32 http_body_bytes_max) {
  return u64{client_buffer_bytes_max} >= u64{http_body_bytes_max} * 2;
}
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason)                          \
  static_assert(u64{lowest} <= u64{default_value} && u64{default_value} <= u64{highest}, #name); \
  constexpr u32 default_##name = default_value;
#include "sidekick/limits.def"
static_assert(is_consistent(default_client_buffer_bytes_max, default_http_body_bytes_max));
static_assert(default_depth_max <= ion::depth_ceiling);

constexpr u32 secrets_max = 16;

std::string quoted(Bytes text) {
  std::size_t size = text.size() < 64 ? text.size() : 64;
  while (size > 0 && size < text.size() && (static_cast<u8>(text[size]) & 0xC0) == 0x80) --size;  // keep characters whole
  return compose({"\"", text.substr(0, size), "\""});
}

std::string decode_limit(const LimitEntry& limit, const ion::Slice& value, Config& config) {
  u64 number = 0;
  bool is_integer = value.kind == ion::Kind::number;
  for (const char c : value.raw) {
    is_integer = is_integer && c >= '0' && c <= '9';
    if (is_integer && number <= 0xFFFFFFFF) number = number * 10 + static_cast<u64>(c - '0');
  }
  if (!is_integer || number < limit.lowest || number > limit.highest) {
    return compose({quoted(limit.name), " must be an integer from ", Digits(limit.lowest), " to ", Digits(limit.highest), ", found ",
                    value.kind == ion::Kind::number ? value.raw.substr(0, 64) : ion::name_of(value.kind)});
  }
  config.*limit.value = static_cast<u32>(number);
  return {};
}

std::string decode_secrets(ion::Reader& reader, Config& config) {
  const std::string expected = compose({"\"secrets\" must be an array of 1 to ", Digits(secrets_max), " non-empty strings"});
  ion::Kind kind;
  if (!reader.peek(kind) || kind != ion::Kind::array) return expected;
  reader.enter_array();
  while (reader.next_element()) {
    ion::Slice value;
    if (!reader.read(value) || value.kind != ion::Kind::string || value.raw.empty()) return expected;
    std::string& secret = config.secrets.emplace_back();
    ion::append_decoded(secret, value.raw);
    // Such a secret could never arrive: HTTP trims a header's value, and refuses control characters in it.
    const bool has_control = std::any_of(secret.begin(), secret.end(), [](char c) { return static_cast<u8>(c) < 0x20 || c == 0x7F; });
    if (has_control || secret.front() == ' ' || secret.back() == ' ') {
      return "a secret has a control character (a newline at its end?) or begins or ends with a space, and could never match";
    }
  }
  return config.secrets.empty() || config.secrets.size() > secrets_max ? expected : std::string();
}

std::string decode_hash_seed(const ion::Slice& value, Config& config) {
  bool is_valid = value.kind == ion::Kind::string && value.raw.size() == 16;
  config.hash_seed = 0;
  for (const char c : value.raw) {
    const bool is_digit = c >= '0' && c <= '9';
    is_valid = is_valid && (is_digit || (c >= 'a' && c <= 'f'));
    config.hash_seed = config.hash_seed << 4 | static_cast<u64>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return is_valid ? std::string() : "\"hash_seed\" must be a string of 16 lower-case hex digits";
}

std::string decode_members(ion::Reader& reader, Config& config) {
  ion::Kind kind;
  if (!reader.peek(kind) || kind != ion::Kind::object) return "expected an object of settings";
  reader.enter_object();
  std::bitset<std::size(limits) + 2> seen;
  ion::Slice key;
  while (reader.next_member(key)) {
    std::size_t index = 0;
    while (index < std::size(limits) && limits[index].name != key.raw) ++index;
    if (key.raw == "hash_seed") index = std::size(limits) + 1;
    if (index == std::size(limits) && key.raw != "secrets") {
      return compose({"there is no setting ", quoted(key.raw), "; docs/protocol.md lists them under Limits"});
    }
    if (seen[index]) return compose({quoted(key.raw), " is set twice"});
    seen[index] = true;
    std::string wrong;
    if (index == std::size(limits)) {
      wrong = decode_secrets(reader, config);
    } else {
      ion::Slice value;
      if (!reader.read(value)) break;
      wrong = index < std::size(limits) ? decode_limit(limits[index], value, config) : decode_hash_seed(value, config);
    }
    if (!reader.ok()) break;
    if (!wrong.empty()) return wrong;
  }
  reader.finish();
  return {};
}

}  // namespace

std::string decode_config(Bytes text, Config& config) {
  constexpr u32 depth_max = 8;
  Config decoded;
  ion::Reader reader(text, depth_max);
  const std::string wrong = decode_members(reader, decoded);
  if (!reader.ok()) return compose({"the configuration is not valid JSON or ION: ", ion::describe(reader.verdict(), text, depth_max)});
  if (!wrong.empty()) return compose({"the configuration is wrong: ", wrong});
  if (decoded.secrets.empty()) return "the configuration is wrong: expected \"secrets\", an array with at least one string";
  if (!is_consistent(decoded.client_buffer_bytes_max, decoded.http_body_bytes_max)) {
    return "the configuration is wrong: client_buffer_bytes_max must be at least twice http_body_bytes_max, or one large message could "
           "disconnect its readers";
  }
  config = decoded;
  return {};
}

}  // namespace sidekick
