#include "sidekick/trace.hpp"

#include "ion/writer.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

namespace {

void append_base64(std::string& out, Bytes bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](std::size_t i) { return at + i < bytes.size() ? static_cast<u32>(static_cast<u8>(bytes[at + i])) : 0u; };
    const u32 group = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += digits[group >> 18];
    out += digits[group >> 12 & 63];
    out += at + 1 < bytes.size() ? digits[group >> 6 & 63] : '=';
    out += at + 2 < bytes.size() ? digits[group & 63] : '=';
  }
}

// One object a line. The functions are kept out of line: they are expanded for every field of border.def.
#define SIDEKICK_NOINLINE __attribute__((noinline))

SIDEKICK_NOINLINE void begin_line(std::string& out, Bytes direction, Bytes name) {
  out.append("{\"").append(direction).append("\":\"").append(name).append("\"");
}

SIDEKICK_NOINLINE void begin_field(std::string& out, Bytes name) { out.append(",\"").append(name).append("\":"); }

SIDEKICK_NOINLINE void append_field(std::string& out, Bytes name, u64 number) {
  begin_field(out, name);
  out.append(Digits(number));
}

SIDEKICK_NOINLINE void append_field(std::string& out, Bytes name, Bytes bytes) {
  begin_field(out, name);
  if (ion::is_utf8(bytes)) {
    ion::append_string(out, bytes);
  } else {
    out += "{\"base64\":\"";
    append_base64(out, bytes);
    out += "\"}";
  }
}

SIDEKICK_NOINLINE void append_field(std::string& out, Bytes name, std::span<const u32> ids) {
  begin_field(out, name);
  out += '[';
  for (const u32 id : ids) {
    if (out.back() != '[') out += ',';
    out.append(Digits(id));
  }
  out += ']';
}

}  // namespace

void append_header(std::string& out, const Config& config) {
  constexpr char hex[] = "0123456789abcdef";
  out += compose({"{\"trace\":", Digits(format_version), ",\"core\":\"", core_version, "\",\"hash_seed\":\""});
  for (int shift = 60; shift >= 0; shift -= 4) out += hex[config.hash_seed >> shift & 15];
  out += "\",\"config\":";
  char separator = '{';
  for (const LimitEntry& limit : limits) {
    out += separator;
    out += compose({"\"", limit.name, "\":", Digits(config.*limit.value)});
    separator = ',';
  }
  out += "}}";
}

void append_input(std::string& out, const Hub& hub, Millis now, const Input& input) {
  // A secret is never recorded: a bearer is told as what it was worth.
  const auto append_bytes = [&](Bytes name, Bytes bytes) {
    if (name != "authorization") return append_field(out, name, bytes);
    begin_field(out, "authorized");
    out += hub.is_authorized(bytes) ? "true" : "false";
  };
  switch (input.tag) {
#define SIDEKICK_U32(name) append_field(out, #name, static_cast<u64>(it.name));
#define SIDEKICK_BYTES(name) append_bytes(#name, it.name);
#define SIDEKICK_INPUT(Type, name, number, fields)       \
  case InputTag::name: {                                 \
    [[maybe_unused]] const input::Type& it = input.name; \
    begin_line(out, "in", #name);                        \
    append_field(out, "now", now);                       \
    fields break;                                        \
  }
#include "sidekick/border.def"
  }
  out += "}\n";
}

void append_action(std::string& out, const Action& action) {
  switch (action.tag) {
#define SIDEKICK_U32(name) append_field(out, #name, static_cast<u64>(it.name));
#define SIDEKICK_U64(name) append_field(out, #name, it.name);
#define SIDEKICK_BYTES(name) append_field(out, #name, it.name);
#define SIDEKICK_IDS(name) append_field(out, #name, it.name);
#define SIDEKICK_ACTION(Type, name, number, fields) \
  case ActionTag::name: {                           \
    const action::Type& it = action.name;           \
    begin_line(out, "out", #name);                  \
    fields break;                                   \
  }
#include "sidekick/border.def"
  }
  out += "}\n";
}

}  // namespace sidekick::trace
