#include "sidekick/trace.hpp"

#include "base/hash_index.hpp"
#include "ion/writer.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

namespace {

void append_base64(std::string& out, Bytes bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](std::size_t i) {
      return at + i < bytes.size() ? static_cast<u32>(static_cast<u8>(bytes[at + i])) : 0u;
    };
    const u32 group = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += digits[group >> 18];
    out += digits[group >> 12 & 63];
    out += at + 1 < bytes.size() ? digits[group >> 6 & 63] : '=';
    out += at + 2 < bytes.size() ? digits[group & 63] : '=';
  }
}

void append_bytes(std::string& out, Bytes bytes) {
  if (ion::is_utf8(bytes)) return ion::append_string(out, bytes);
  out += "{\"base64\":\"";
  append_base64(out, bytes);
  out += "\"}";
}

void append_list(std::string& out, std::span<const Bytes> list) {
  out += '[';
  for (const Bytes bytes : list) {
    if (out.back() != '[') out += ',';
    append_bytes(out, bytes);
  }
  out += ']';
}

void append_ids(std::string& out, std::span<const u32> ids) {
  out += '[';
  for (const u32 id : ids) {
    if (out.back() != '[') out += ',';
    out.append(Digits(id));
  }
  out += ']';
}

void append_hex(std::string& out, u64 number) {
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[number >> shift & 15];
}

/// Writes every field of border.def by its name and kind, and the end of the line. `hub` decides
/// what must not be written.
void append_fields(std::string& out, const Shape& shape, const char* fields, const Hub* hub,
                   u32 format) {
  for (const Field* field = shape.fields; field->kind != FieldKind::end; ++field) {
    if (field->since > format) continue;
    if (field->kind == FieldKind::code) {
      const ErrorCode code = field_at<ErrorCode>(fields, *field);
      if (code != ErrorCode::ok) append_form(out, ",\"%\":\"%\"", field->name, name_of(code));
      continue;
    }
    if (field->name == "authorization") {
      const Bytes authorization = field_at<Bytes>(fields, *field);
      out += ",\"authorized\":";
      out += authorization.empty() ? "null" : hub->is_authorized(authorization) ? "true" : "false";
      continue;
    }
    append_form(out, ",\"%\":", field->name);
    switch (field->kind) {
      case FieldKind::u32_word:
        out.append(Digits(field_at<u32>(fields, *field)));
        break;
      case FieldKind::u64_word:
        out.append(Digits(field_at<u64>(fields, *field)));
        break;
      case FieldKind::bytes:
        append_bytes(out, field_at<Bytes>(fields, *field));
        break;
      case FieldKind::list:
        append_list(out, field_at<std::span<const Bytes>>(fields, *field));
        break;
      case FieldKind::ids:
        append_ids(out, field_at<std::span<const u32>>(fields, *field));
        break;
      case FieldKind::code:
      case FieldKind::end:
        trap();
    }
  }
  out += "}\n";
}

}  // namespace

void append_header(std::string& out, const Config& config, u32 format) {
  append_form(out, "{\"trace\":%,\"core\":\"%\",\"hash_seed\":\"", format, core_version);
  append_hex(out, config.hash_seed);
  out += "\",\"config\":";
  const char* separator = "{";
  for (const LimitEntry& limit : limits) {
    append_form(out, "%\"%\":%", separator, limit.name, config.*limit.value);
    separator = ",";
  }
  if (!config.allowed_origins.empty()) {
    out += ",\"allowed_origins\":";
    separator = "[";
    for (const std::string& origin : config.allowed_origins) {
      out += separator;
      ion::append_string(out, origin);
      separator = ",";
    }
    out += ']';
  }
  if (!config.node.empty()) append_form(out, ",\"node\":\"%\"", config.node);
  if (!config.engine_epoch.empty())
    append_form(out, ",\"engine_epoch\":\"%\"", config.engine_epoch);
  out += "}}";
}

void append_input(std::string& out, const Hub& hub, Millis now, const Input& input, u32 format) {
  const Shape& shape = *find_input_shape(static_cast<u32>(input.tag));
  append_form(out, "{\"in\":\"%\",\"now\":%", shape.name, now);
  append_fields(out, shape, fields_of(input), &hub, format);
}

void append_action(std::string& out, const Action& action, u32 format) {
  const Shape& shape = *find_action_shape(static_cast<u32>(action.tag));
  if (shape.since > format) return;
  append_form(out, "{\"out\":\"%\"", shape.name);
  append_fields(out, shape, fields_of(action), nullptr, format);
}

void Recording::append(std::string& out, const Hub& hub, Millis now, const Input& input,
                       const Actions& actions) {
  const std::size_t before = out.size();
  append_input(out, hub, now, input, format_);
  for (const Action& action : actions) append_action(out, action, format_);
  lines_ = hash_bytes(lines_, Bytes(out).substr(before));
  ++inputs_;
}

bool Recording::take_due_hash(const Hub& hub) {
  constexpr u64 inputs_min = 1024;
  const u64 inputs = inputs_ - due_since_;
  if (inputs < inputs_min || inputs < hub.state_size()) return false;
  due_since_ = inputs_;
  return true;
}

void Recording::append_hash(std::string& out, const Hub& hub) const {
  append_form(out, "{\"hash\":{\"inputs\":%,\"lines\":\"", inputs_);
  append_hex(out, lines_);
  out += "\",\"state\":\"";
  append_hex(out, hub.state_hash());
  out += "\"}}\n";
}

}  // namespace sidekick::trace
