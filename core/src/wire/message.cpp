#include "wire/message.hpp"

#include <algorithm>
#include <iterator>

#include "base/numbers.hpp"
#include "ion/writer.hpp"

namespace sidekick {

namespace {

constexpr Bytes field_names[] = {"type",      "token", "channel", "params", "data",  "context",
                                 "resources", "hello", "id",      "since",  "epoch", "again"};

/// Appends whole pieces: a range of iterators would be copied byte by byte.
void append_escaped(std::string& out, Bytes name) {
  // Lowercase letters sort after all of these.
  const auto needs_escape = [](char c) {
    return c <= '\\' && (c == ',' || c == ':' || c == '/' || c == '\\');
  };
  std::size_t start = 0;  // of the part that is not appended yet
  for (std::size_t at = 0; at < name.size(); ++at) {
    if (!needs_escape(name[at])) continue;
    out.append(name.substr(start, at - start)).append(1, '\\');
    start = at;
  }
  out.append(name.substr(start));
}

}  // namespace

template <class Out>
void append_params(Out& out, const Scope& scope) {
  if (scope.params.empty()) {
    out.append("{}");
    return;
  }
  Bytes separator = "{ ";
  for (const Scope::Param& param : scope.params) {
    out.append(separator);
    ion::append_string(out, param.name);
    out.append(": ");
    ion::append_string(out, param.value);
    separator = ", ";
  }
  out.append(" }");
}

template void append_params(std::string&, const Scope&);
template void append_params(TextArena&, const Scope&);

void name_channel_topic(std::string& out, const Scope& scope) {
  out.assign("channel:");
  append_escaped(out, *scope.channel);
  const auto append = [&out](char separator, const Scope::Param& param) {
    out += separator;
    append_escaped(out, param.name);
    out += ':';
    append_escaped(out, param.value);
  };
  switch (scope.params.size()) {
    case 0:
      out += '/';
      return;
    case 1:
      append('/', scope.params.front());
      return;
    default: {
      const auto is_before = [](const Scope::Param* a, const Scope::Param* b) {
        return a->name < b->name;
      };
      std::vector<const Scope::Param*> sorted;
      sorted.reserve(scope.params.size());
      for (const Scope::Param& param : scope.params)
        sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), &param, is_before), &param);
      char separator = '/';
      for (const Scope::Param* param : sorted) {
        append(separator, *param);
        separator = ',';
      }
    }
  }
}

void name_resource_topic(std::string& out, Bytes resource) {
  out.assign("resource:");
  out += resource;
}

const std::string& MessageDecoder::decode_frame(Bytes frame, bool has_session) {
  const bool has_members = read_members(frame);
  if (has_session && !read_extension()) return wrong_;
  if (!has_members) return wrong_;
  if (!read_type()) {
    read_scope();  // an error reply names the channel of the rejected message, if it has one
    return wrong_;
  }
  switch (message_.type) {
    case MessageType::ping:
      break;
    case MessageType::subscribe:
      if (read_token() && has_session) read_since();
      break;
    case MessageType::unsubscribe:
      read_token();
      break;
    case MessageType::send:
      read_token();
      read_scope();
      read_raw(Field::data, message_.data);
      if (has_session) read_again();
      break;
    case MessageType::listen:
      if (has(Field::hello) && !read_extension()) break;
      if (!read_resources()) break;
      if (has(Field::hello)) {
        read_hello();
      } else if (has_session) {
        read_since();
      }
      break;
    case MessageType::unlisten:
      read_resources();
      break;
  }
  return wrong_;
}

/// Of a frame that cannot be read the id is taken nevertheless.
bool MessageDecoder::read_extension() {
  if (repeated_ != field_count) {
    refuse(ErrorCode::shape, "duplicate member $ at byte %", field_names[repeated_], repeated_at_);
  }
  if (has(Field::id)) read_number(Field::id, 1, message_.id);
  return wrong_.empty();
}

void MessageDecoder::peek_id(Bytes frame) {
  reset(frame);
  ion::Reader reader(frame, config_.depth_max);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object) return;
  reader.enter_object();
  ion::Slice key;
  for (u32 i = 0; i < 2 && reader.next_member(key); ++i) {
    ion::Slice value;
    if ((key.raw != "type" && key.raw != "id") || !reader.read(value)) return;
    if (key.raw == "type") continue;
    members_[Field::id] = {value, 0};
    read_number(Field::id, 1, message_.id);
    return;
  }
}

const std::string& MessageDecoder::decode_connection(Bytes body) {
  if (read_members(body) && read_token() && read_scope())
    read_raw(Field::context, message_.context);
  return wrong_;
}

const std::string& MessageDecoder::decode_channel_message(Bytes body) {
  if (read_members(body) && read_scope()) read_raw(Field::data, message_.data);
  return wrong_;
}

const std::string& MessageDecoder::decode_resources(Bytes body) {
  if (read_members(body)) read_resources();
  return wrong_;
}

/// The one pass over the whole text. A syntax fault takes precedence over every other error,
/// wherever it is.
bool MessageDecoder::read_members(Bytes text) {
  reset(text);
  ion::Reader reader(text, config_.depth_max);
  ion::Kind kind = ion::Kind::null;
  if (reader.peek(kind) && kind != ion::Kind::object) {
    ion::Slice value;
    reader.read(value);
    refuse(ErrorCode::shape, "expected an object, found % at byte %", ion::name_of(kind),
           text.find_first_not_of(" \t\r\n"));
  } else if (reader.enter_object()) {
    ion::Slice key;
    while (reader.next_member(key)) {
      const Bytes name = key.escaped ? decoded(key) : key.raw;
      u8 field = 0;
      while (field < field_count && name != field_names[field]) ++field;
      ion::Slice value;
      if (!reader.read(value)) break;
      if (field == field_count) continue;  // the npm client sends and accepts extra members
      if ((present_ >> field & 1) != 0) {
        const u32 at = offset_of(key.raw) - 1;
        if (field < Field::hello) {
          refuse(ErrorCode::shape, "duplicate member $ at byte %", name, at);
        } else if (repeated_ == field_count) {
          repeated_ = field;
          repeated_at_ = at;
        }
      }
      present_ |= 1u << field;
      members_[field] = {value, offset_of(value.raw) - (value.kind == ion::Kind::string ? 1 : 0)};
    }
  }
  if (!reader.finish()) {
    code_ = reader.verdict().fault == ion::Fault::less_depth ? ErrorCode::size : ErrorCode::syntax;
    wrong_ = "not valid ION: ";
    wrong_ += ion::describe(reader.verdict(), text, config_.depth_max, "depth_max");
  }
  return wrong_.empty();
}

void MessageDecoder::reset(Bytes text) {
  text_ = text;
  message_.token = {};
  message_.scope.channel.reset();
  message_.scope.params.clear();
  message_.scope.has_params = false;
  message_.data.reset();
  message_.context.reset();
  message_.resources.clear();
  message_.id = 0;
  message_.hello.reset();
  message_.since.reset();
  message_.epoch = {};
  message_.again = false;
  present_ = 0;
  repeated_ = field_count;
  wrong_.clear();
  scratch_.reset();
}

bool MessageDecoder::read_type() {
  static constexpr Bytes names[] = {"subscribe", "unsubscribe", "send",
                                    "listen",    "unlisten",    "ping"};
  if (!require(Field::type, ion::Kind::string)) return false;
  const Bytes name = decoded(members_[Field::type].value);
  for (std::size_t at = 0; at < std::size(names); ++at) {
    if (name != names[at]) continue;
    message_.type = static_cast<MessageType>(at);
    return true;
  }
  return refuse(
      ErrorCode::shape,
      "\"type\" must be one of subscribe, unsubscribe, send, listen, unlisten, ping; found $ at "
      "byte %",
      name, members_[Field::type].offset);
}

bool MessageDecoder::read_token() {
  if (!require(Field::token, ion::Kind::string)) return false;
  const Bytes name = decoded(members_[Field::token].value);
  message_.token = name;
  if (name.empty())
    return refuse(ErrorCode::shape, "\"token\" must not be empty, found \"\" at byte %",
                  members_[Field::token].offset);
  if (!ion::is_utf8(name))
    return refuse(ErrorCode::shape,
                  "\"token\" must be valid Unicode, found a lone surrogate in the string at byte %",
                  members_[Field::token].offset);
  if (name.size() <= config_.token_bytes_max) return true;
  return refuse(ErrorCode::size, "\"token\" has % bytes; the limit is % (token_bytes_max)",
                name.size(), config_.token_bytes_max);
}

/// Reads channel and params as far as possible; an error in the channel is reported first.
bool MessageDecoder::read_scope() {
  const bool has_channel = read_channel();
  return read_params() && has_channel;
}

bool MessageDecoder::read_channel() {
  if (!require(Field::channel, ion::Kind::string)) return false;
  const Bytes name = decoded(members_[Field::channel].value);
  if (name.size() > config_.channel_bytes_max) {
    return refuse(ErrorCode::size, "\"channel\" has % bytes; the limit is % (channel_bytes_max)",
                  name.size(), config_.channel_bytes_max);
  }
  message_.scope.channel = name;
  return true;
}

bool MessageDecoder::read_params() {
  if (!require(Field::params, ion::Kind::object)) return false;
  ion::Reader reader(members_[Field::params].value.raw, config_.depth_max);
  ion::Slice key;
  reader.enter_object();
  while (reader.next_member(key)) {
    ion::Slice value;
    reader.read(value);
    if (read_param(key, value)) continue;
    message_.scope.params.clear();
    return false;
  }
  message_.scope.has_params = true;
  return true;
}

bool MessageDecoder::read_param(const ion::Slice& key, const ion::Slice& value) {
  std::vector<Scope::Param>& known = message_.scope.params;
  const u32 offset = offset_of(key.raw) - 1;
  const Bytes name = decoded(key);
  if (value.kind != ion::Kind::string) {
    return refuse(ErrorCode::shape, "param $ must be a string, found % at byte %", name,
                  ion::name_of(value.kind), offset_of(value.raw));
  }
  if (known.size() == config_.params_max) {
    return refuse(ErrorCode::size,
                  "expected at most % params (params_max), found one more at byte %",
                  config_.params_max, offset);
  }
  if (name.size() > config_.param_name_bytes_max) {
    return refuse(ErrorCode::size, "param name has % bytes; the limit is % (param_name_bytes_max)",
                  name.size(), config_.param_name_bytes_max);
  }
  for (const Scope::Param& other : known) {
    if (other.name == name)
      return refuse(ErrorCode::shape, "duplicate param $ at byte %", name, offset);
  }
  const Bytes text = decoded(value);
  if (text.size() > config_.param_value_bytes_max) {
    return refuse(ErrorCode::size,
                  "value of param $ has % bytes; the limit is % (param_value_bytes_max)", name,
                  text.size(), config_.param_value_bytes_max);
  }
  known.push_back({name, text});
  return true;
}

bool MessageDecoder::read_resources() {
  if (!require(Field::resources, ion::Kind::array)) return false;
  ion::Reader reader(members_[Field::resources].value.raw, config_.depth_max);
  reader.enter_array();
  while (reader.next_element()) {
    ion::Slice value;
    reader.read(value);
    if (!read_resource(value)) return false;
  }
  return true;
}

bool MessageDecoder::read_resource(const ion::Slice& value) {
  const u32 index = static_cast<u32>(message_.resources.size());
  if (index == config_.resources_per_message_max) {
    return refuse(ErrorCode::size,
                  "expected at most % resources (resources_per_message_max), found more", index);
  }
  if (value.kind != ion::Kind::string) {
    return refuse(ErrorCode::shape, "resources[%] must be a string, found % at byte %", index,
                  ion::name_of(value.kind), offset_of(value.raw));
  }
  const Bytes name = decoded(value);
  if (name.size() > config_.resource_bytes_max) {
    return refuse(ErrorCode::size, "resources[%] has % bytes; the limit is % (resource_bytes_max)",
                  index, name.size(), config_.resource_bytes_max);
  }
  message_.resources.push_back(name);
  return true;
}

/// A session is a secret: the text does not show it.
bool MessageDecoder::read_hello() {
  constexpr std::size_t chars_min = 16;
  constexpr std::size_t chars_max = 64;
  if (!require(Field::hello, ion::Kind::string)) return false;
  const Bytes session = members_[Field::hello].value.raw;
  const auto is_allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_';
  };
  if (session.size() < chars_min || session.size() > chars_max ||
      !std::all_of(session.begin(), session.end(), is_allowed)) {
    return refuse(ErrorCode::shape,
                  "\"hello\" must be % to % letters, digits, \"-\" and \"_\", at byte %", chars_min,
                  chars_max, members_[Field::hello].offset);
  }
  if (!message_.resources.empty())
    return refuse(ErrorCode::shape, "\"resources\" must be empty where \"hello\" is said");
  message_.hello = session;
  return true;
}

bool MessageDecoder::read_since() {
  u64 position = 0;
  if (has(Field::epoch) && !require(Field::epoch, ion::Kind::string)) return false;
  if (!has(Field::since)) return true;
  if (!read_number(Field::since, 0, position)) return false;
  message_.since = position;
  if (has(Field::epoch)) message_.epoch = members_[Field::epoch].value.raw;
  return true;
}

bool MessageDecoder::read_again() {
  if (!has(Field::again)) return true;
  if (!require(Field::again, ion::Kind::boolean)) return false;
  message_.again = members_[Field::again].value.raw == "true";
  if (message_.again && message_.id == 0)
    return refuse(ErrorCode::shape, "\"again\" needs an \"id\"");
  return true;
}

bool MessageDecoder::read_number(Field field, u64 lowest, u64& out) {
  const ion::Slice& value = members_[field].value;
  constexpr u32 digits_max = 16;  // of number_max
  u64 number = 0;
  if (value.kind != ion::Kind::number || !decode_number(value.raw, 10, digits_max, number) ||
      number < lowest || number > number_max) {
    return refuse(ErrorCode::shape, "\"%\" must be an integer from % to %, at byte %",
                  field_names[field], lowest, number_max, members_[field].offset);
  }
  out = number;
  return true;
}

bool MessageDecoder::require(Field field, ion::Kind kind) {
  const Member& member = members_[field];
  if (!has(field))
    return refuse(ErrorCode::shape, "missing member \"%\"; expected %", field_names[field],
                  ion::name_of(kind));
  if (member.value.kind == kind) return true;
  return refuse(ErrorCode::shape, "\"%\" must be %, found % at byte %", field_names[field],
                ion::name_of(kind), ion::name_of(member.value.kind), member.offset);
}

void MessageDecoder::read_raw(Field field, std::optional<Bytes>& raw) {
  const Member& member = members_[field];
  if (!has(field)) return;
  raw = member.value.raw;
  // The slice of a string excludes its quotes; relayed, it needs them.
  if (member.value.kind == ion::Kind::string) raw = Bytes(raw->data() - 1, raw->size() + 2);
}

Bytes MessageDecoder::decoded(const ion::Slice& slice) {
  if (!slice.escaped) return slice.raw;
  decoded_.clear();
  ion::append_decoded(decoded_, slice.raw);
  return scratch_.copy(decoded_);
}

}  // namespace sidekick
