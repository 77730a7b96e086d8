// Configuration: every value is checked against limits.def; every error names the setting and what
// was expected.
#include "sidekick/config.hpp"

#include <algorithm>
#include <bitset>

#include "base/numbers.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

namespace sidekick {

namespace {

// Invariants between the defaults; decode_config checks the same for configured values.
constexpr bool holds_messages(const u32 client_buffer_bytes_max, const u32 http_body_bytes_max) {
  return u64{client_buffer_bytes_max} >= u64{http_body_bytes_max} * 2;
}
constexpr bool holds_client(const u32 unsent_bytes_max, const u32 client_buffer_bytes_max) {
  return unsent_bytes_max >= client_buffer_bytes_max;
}
#define SIDEKICK_LIMIT(name, default_value, lowest, highest, reason)                             \
  static_assert(u64{lowest} <= u64{default_value} && u64{default_value} <= u64{highest}, #name); \
  constexpr u32 default_##name = default_value;
#include "sidekick/limits.def"
static_assert(holds_messages(default_client_buffer_bytes_max, default_http_body_bytes_max));
static_assert(holds_client(default_unsent_bytes_max, default_client_buffer_bytes_max));
static_assert(default_depth_max <= ion::depth_ceiling);

constexpr u32 secrets_max = 16;
constexpr u32 allowed_origins_max = 256;

/// Whether a browser could send it: a scheme, a host, a port unless it is the scheme's own. Nothing
/// else may follow, not even a slash.
bool is_origin(Bytes origin) {
  if (origin == "null") return true;
  const std::size_t end = origin.find("://");
  if (end == Bytes::npos || end == 0) return false;
  const Bytes scheme = origin.substr(0, end);
  Bytes host = origin.substr(end + 3);
  if (host.starts_with("*.")) host.remove_prefix(2);
  const bool has_own_port =
      (scheme == "http" && host.ends_with(":80")) || (scheme == "https" && host.ends_with(":443"));
  return !host.empty() && !has_own_port &&
         std::all_of(origin.begin(), origin.end(), [](char c) { return c > 0x20 && c < 0x7F; }) &&
         host.find_first_of("/?#@*\\") == Bytes::npos;
}

/// Decodes into a separate configuration; stops at the first error.
class ConfigDecoder {
 public:
  explicit ConfigDecoder(Bytes text) : text_(text), reader_(text, depth_max) {}

  bool decode() {
    const bool is_right = read_members() && reader_.finish() && has_what_it_needs();
    if (!reader_.ok())
      wrong = "invalid configuration: not valid JSON or ION: " +
              ion::describe(reader_.verdict(), text_, depth_max);
    return is_right;
  }

  Config config;
  std::string wrong;

 private:
  static constexpr u32 depth_max = 8;

  template <class... Parts>
  bool refuse(Form<std::type_identity_t<Parts>...> form, const Parts&... parts) {
    wrong = "invalid configuration: ";
    append_form(wrong, form, parts...);
    return false;
  }

  bool read_members() {
    ion::Kind kind = ion::Kind::null;
    if (!reader_.peek(kind) || kind != ion::Kind::object)
      return refuse("expected an object, found %", ion::name_of(kind));
    reader_.enter_object();
    std::bitset<std::size(limits)> seen;
    ion::Slice key;
    while (reader_.next_member(key)) {
      const Bytes name = key.raw;
      std::size_t index = 0;
      while (index < std::size(limits) && limits[index].name != name) ++index;
      const bool is_limit = index < std::size(limits);
      const bool is_origins = name == "allowed_origins";
      const bool is_node = name == "node";
      const bool is_epoch = name == "engine_epoch";
      const bool is_metrics = name == "metrics_secret";
      if (!is_limit && !is_origins && !is_node && !is_epoch && !is_metrics && name != "secrets" &&
          name != "hash_seed") {
        return refuse("unknown setting $; see \"Limits\" in docs/protocol.md", name);
      }
      const bool is_again = is_limit            ? seen[index]
                            : name == "secrets" ? !config.secrets.empty()
                            : is_origins        ? !config.allowed_origins.empty()
                            : is_node           ? !config.node.empty()
                            : is_epoch          ? !config.engine_epoch.empty()
                            : is_metrics        ? !config.metrics_secret.empty()
                                                : has_hash_seed_;
      if (is_again) return refuse("duplicate setting $", name);
      if (is_limit) seen[index] = true;
      has_unsent_bytes_max_ = has_unsent_bytes_max_ || name == "unsent_bytes_max";
      if (name == "secrets" ? !read_secrets()
          : is_limit        ? !read_limit(limits[index])
          : is_origins      ? !read_allowed_origins()
          : is_node         ? !read_node()
          : is_epoch        ? !read_engine_epoch()
          : is_metrics      ? !read_metrics_secret()
                            : !read_hash_seed())
        return false;
    }
    return reader_.ok();
  }

  bool read_limit(const LimitEntry& limit) {
    ion::Slice value;
    if (!reader_.read(value)) return false;
    constexpr u32 digits_max = 10;  // of any u32
    u64 number = 0;
    if (value.kind != ion::Kind::number || !decode_number(value.raw, 10, digits_max, number) ||
        number < limit.lowest || number > limit.highest) {
      return refuse("\"%\" must be an integer from % to %, found %", limit.name, limit.lowest,
                    limit.highest,
                    value.kind == ion::Kind::number ? value.raw.substr(0, 64)
                                                    : Bytes(ion::name_of(value.kind)));
    }
    config.*limit.value = static_cast<u32>(number);
    return true;
  }

  bool read_metrics_secret() {
    if (read_secret(config.metrics_secret)) return true;
    return wrong.empty() && refuse("\"metrics_secret\" must be a non-empty string");
  }

  /// Returns false if it is none; `wrong` says what is, unless it is no text or an empty one.
  bool read_secret(std::string& secret) {
    ion::Slice value;
    if (!reader_.read(value) || value.kind != ion::Kind::string || value.raw.empty()) return false;
    ion::append_decoded(secret, value.raw);
    // HTTP trims header values and rejects control characters in them, and libraries differ in how
    // they send other characters: curl as UTF-8, fetch as Latin-1 or not at all.
    return std::all_of(secret.begin(), secret.end(), [](char c) { return c > ' ' && c <= '~'; }) ||
           refuse(
               "a secret must be printable ASCII without spaces, which every HTTP library sends "
               "alike (is there a trailing newline?)");
  }

  bool read_secrets() {
    ion::Kind kind = ion::Kind::null;
    bool is_right = reader_.peek(kind) && kind == ion::Kind::array;
    if (is_right) reader_.enter_array();
    while (is_right && reader_.next_element()) {
      is_right = read_secret(config.secrets.emplace_back());
      if (!wrong.empty()) return false;
    }
    if (is_right && !config.secrets.empty() && config.secrets.size() <= secrets_max) return true;
    return refuse("\"secrets\" must be an array of 1 to % non-empty strings", secrets_max);
  }

  bool read_allowed_origins() {
    ion::Kind kind = ion::Kind::null;
    bool is_right = reader_.peek(kind) && kind == ion::Kind::array;
    if (is_right) reader_.enter_array();
    while (is_right && reader_.next_element()) {
      ion::Slice value;
      is_right = reader_.read(value) && value.kind == ion::Kind::string;
      if (!is_right) break;
      std::string& origin = config.allowed_origins.emplace_back();
      ion::append_decoded(origin, value.raw);
      if (origin == "*") {
        return refuse("\"allowed_origins\" must not contain \"*\": leave it out to allow all");
      }
      if (!is_origin(origin)) {
        return refuse(
            "\"allowed_origins\" must contain origins as browsers send them, such as "
            "https://app.example.com or https://*.example.com, without a path and without the "
            "scheme's own port; found $",
            Bytes(origin));
      }
    }
    const std::size_t count = config.allowed_origins.size();
    if (is_right && count > 0 && count <= allowed_origins_max) return true;
    return refuse(
        "\"allowed_origins\" must be an array of 1 to % strings; leave it out to allow all",
        allowed_origins_max);
  }

  /// 16 digits.
  bool read_hex(Bytes name, Bytes& digits) {
    ion::Slice value;
    if (!reader_.read(value)) return false;
    digits = value.raw;
    const bool is_hex = value.kind == ion::Kind::string && digits.size() == 16 &&
                        digits.find_first_not_of("0123456789abcdef") == Bytes::npos;
    return is_hex || refuse("\"%\" must be a string of 16 lower-case hex digits", name);
  }

  bool read_hash_seed() {
    Bytes digits;
    has_hash_seed_ = read_hex("hash_seed", digits);
    if (!has_hash_seed_) return false;
    for (const char c : digits)
      config.hash_seed =
          config.hash_seed << 4 | static_cast<u64>(c <= '9' ? c - '0' : c - 'a' + 10);
    return true;
  }

  bool read_node() {
    Bytes digits;
    if (!read_hex("node", digits)) return false;
    config.node = digits;
    return true;
  }

  bool read_engine_epoch() {
    ion::Slice value;
    if (!reader_.read(value)) return false;
    if (value.kind == ion::Kind::string && is_epoch_name(value.raw)) {
      config.engine_epoch = value.raw;
      return true;
    }
    return refuse(
        "\"engine_epoch\" must be a string of 1 to % printable ASCII characters other than "
        "spaces, quotes and backslashes",
        epoch_bytes_max);
  }

  bool has_what_it_needs() {
    if (config.secrets.empty())
      return refuse("missing \"secrets\"; expected an array of 1 to % non-empty strings",
                    secrets_max);
    if (config.engine_shards != 0 && config.node.empty())
      return refuse("engine_shards needs \"node\": 16 random hex digits, drawn for each process");
    if (!holds_messages(config.client_buffer_bytes_max, config.http_body_bytes_max)) {
      return refuse(
          "client_buffer_bytes_max must be at least twice http_body_bytes_max, to hold the largest "
          "message");
    }
    // Configurations and recordings from before this limit stay valid.
    if (!has_unsent_bytes_max_)
      config.unsent_bytes_max = std::max(config.unsent_bytes_max, config.client_buffer_bytes_max);
    if (holds_client(config.unsent_bytes_max, config.client_buffer_bytes_max)) return true;
    return refuse(
        "unsent_bytes_max must be at least client_buffer_bytes_max, to hold the unsent messages of "
        "one client");
  }

  Bytes text_;
  ion::Reader reader_;
  bool has_hash_seed_ = false;
  bool has_unsent_bytes_max_ = false;
};

}  // namespace

bool is_epoch_name(Bytes text) {
  return !text.empty() && text.size() <= epoch_bytes_max &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

std::string decode_config(Bytes text, Config& config) {
  ConfigDecoder decoder(text);
  if (decoder.decode()) config = std::move(decoder.config);
  return std::move(decoder.wrong);
}

}  // namespace sidekick
