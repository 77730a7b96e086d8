#include "message.hpp"

#include <algorithm>
#include <array>

#include "ion/writer.hpp"

namespace sidekick {

namespace {

/// A stranger's text inside an error message: quoted, escaped (it may end in a log), and cut where it gets long.
std::string quote(Bytes text) {
  constexpr std::size_t shown_max = 64;
  std::size_t size = std::min(text.size(), shown_max);
  while (size < text.size() && size > 0 && (static_cast<u8>(text[size]) & 0xC0) == 0x80) --size;  // keep characters whole
  std::string out;
  ion::append_string(out, text.substr(0, size));
  if (size < text.size()) out += "...";
  return out;
}

void append_escaped(std::string& out, Bytes name) {
  for (const char c : name) {
    if (c == ',' || c == ':' || c == '/' || c == '\\') out += '\\';
    out += c;
  }
}

std::string at_byte(u32 offset) { return compose({" at byte ", Digits(offset)}); }

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
      // Insertion sort: params are few, bounded by params_max, and std::sort is a twentieth of the module.
      std::vector<const Scope::Param*> sorted(scope.params.size());
      for (std::size_t i = 0; i < sorted.size(); ++i) {
        std::size_t at = i;
        for (; at > 0 && scope.params[i].name < sorted[at - 1]->name; --at) sorted[at] = sorted[at - 1];
        sorted[at] = &scope.params[i];
      }
      for (const Scope::Param* param : sorted) append(param == sorted.front() ? '/' : ',', *param);
    }
  }
}

void name_resource_topic(std::string& out, Bytes resource) {
  out.assign("resource:");
  out += resource;
}

std::string MessageDecoder::decode_frame(Bytes frame) {
  std::string wrong = read_members(frame);
  if (!wrong.empty()) return wrong;
  wrong = read_type();
  if (!wrong.empty()) {
    read_scope();  // an error reply names the channel of the message at fault, if it has one
    return wrong;
  }
  switch (message_.type) {
    case MessageType::ping:
      return {};
    case MessageType::subscribe:
    case MessageType::unsubscribe:
      return read_token();
    case MessageType::send: {
      const std::string wrong_scope = read_scope();
      wrong = read_token();
      read_raw(Field::data, message_.data);
      return wrong.empty() ? wrong_scope : wrong;
    }
    case MessageType::listen:
    case MessageType::unlisten:
      return read_resources();
  }
  trap();
}

std::string MessageDecoder::decode_connection(Bytes body) {
  std::string wrong = read_members(body);
  if (wrong.empty()) wrong = read_token();
  if (wrong.empty()) wrong = read_scope();
  read_raw(Field::context, message_.context);
  return wrong;
}

std::string MessageDecoder::decode_channel_message(Bytes body) {
  std::string wrong = read_members(body);
  if (wrong.empty()) wrong = read_scope();
  read_raw(Field::data, message_.data);
  return wrong;
}

std::string MessageDecoder::decode_resources(Bytes body) {
  std::string wrong = read_members(body);
  return wrong.empty() ? read_resources() : wrong;
}

/// The one pass over the whole text. A fault of the text comes before every other complaint, wherever it stands.
std::string MessageDecoder::read_members(Bytes text) {
  text_ = text;
  message_.token = {};
  message_.scope.channel.reset();
  message_.scope.params.clear();
  message_.scope.has_params = false;
  message_.data.reset();
  message_.context.reset();
  message_.resources.clear();
  for (Member& member : members_) member.is_present = false;
  scratch_.reset();

  ion::Reader reader(text, config_.depth_max);
  ion::Kind kind = ion::Kind::null;
  std::string duplicate;
  if (reader.peek(kind) && kind != ion::Kind::object) {
    ion::Slice value;
    reader.read(value);
  } else if (reader.enter_object()) {
    ion::Slice key;
    while (reader.next_member(key)) {
      const Bytes name = key.escaped ? decoded(key) : key.raw;
      u8 field = 0;
      while (field < field_count && name != name_of(static_cast<Field>(field))) ++field;
      ion::Slice value;
      if (!reader.read(value)) break;
      if (field == field_count) continue;  // the npm client accepts and sends extra members
      if (members_[field].is_present && duplicate.empty()) {
        duplicate = compose({"expected each member once, found ", quote(name), " again",
                             at_byte(static_cast<u32>(key.raw.data() - text.data()) - 1)});
      }
      const u32 offset = static_cast<u32>(value.raw.data() - text.data()) - (value.kind == ion::Kind::string ? 1 : 0);
      members_[field] = Member{value, offset, true};
    }
  }
  reader.finish();
  if (!reader.ok()) return compose({"not valid ION: ", ion::describe(reader.verdict(), text, config_.depth_max)});
  if (kind != ion::Kind::object) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    return compose({"expected an object, found ", ion::name_of(kind), at_byte(static_cast<u32>(start))});
  }
  return duplicate;
}

std::string MessageDecoder::read_type() {
  static constexpr std::array<Bytes, 6> names = {"subscribe", "unsubscribe", "send", "listen", "unlisten", "ping"};
  std::string wrong = require(Field::type, ion::Kind::string);
  if (!wrong.empty()) return wrong;
  const Bytes name = decoded(members_[Field::type].value);
  for (u8 at = 0; at < names.size(); ++at) {
    if (name != names[at]) continue;
    message_.type = static_cast<MessageType>(at);
    return {};
  }
  return compose({"\"type\" must be one of subscribe, unsubscribe, send, listen, unlisten, ping; found ", quote(name),
                  at_byte(members_[Field::type].offset)});
}

std::string MessageDecoder::read_token() {
  std::string wrong = require(Field::token, ion::Kind::string);
  if (!wrong.empty()) return wrong;
  message_.token = decoded(members_[Field::token].value);
  if (message_.token.empty()) return compose({"\"token\" must not be empty", at_byte(members_[Field::token].offset)});
  if (!ion::is_utf8(message_.token)) {
    return compose({"\"token\" must not have half a surrogate pair", at_byte(members_[Field::token].offset)});
  }
  if (message_.token.size() > config_.token_bytes_max) {
    return refuse_size("\"token\" has", message_.token.size(), config_.token_bytes_max, "token_bytes_max");
  }
  return {};
}

/// Channel and params each as far as they can be read; what is wrong with the channel is said first.
std::string MessageDecoder::read_scope() {
  std::string wrong_channel = read_channel();
  std::string wrong_params = read_params();
  return wrong_channel.empty() ? wrong_params : wrong_channel;
}

std::string MessageDecoder::read_channel() {
  std::string wrong = require(Field::channel, ion::Kind::string);
  if (!wrong.empty()) return wrong;
  const Bytes name = decoded(members_[Field::channel].value);
  if (name.size() > config_.channel_bytes_max) {
    return refuse_size("\"channel\" has", name.size(), config_.channel_bytes_max, "channel_bytes_max");
  }
  message_.scope.channel = name;
  return {};
}

std::string MessageDecoder::read_params() {
  std::string wrong = require(Field::params, ion::Kind::object);
  if (!wrong.empty()) return wrong;
  Scope& scope = message_.scope;
  const Bytes object = members_[Field::params].value.raw;
  ion::Reader reader(object, config_.depth_max);
  ion::Slice key;
  reader.enter_object();
  while (reader.next_member(key)) {
    ion::Slice value;
    reader.read(value);
    const u32 offset = static_cast<u32>(key.raw.data() - text_.data()) - 1;
    const Bytes name = decoded(key);
    if (value.kind != ion::Kind::string) {
      wrong = compose({"param ", quote(name), " must be a string, found ", ion::name_of(value.kind),
                       at_byte(static_cast<u32>(value.raw.data() - text_.data()))});
    } else if (scope.params.size() == config_.params_max) {
      wrong = compose({"expected at most ", Digits(config_.params_max), " params (params_max), found one more", at_byte(offset)});
    } else if (name.size() > config_.param_name_bytes_max) {
      wrong = refuse_size("a param's name has", name.size(), config_.param_name_bytes_max, "param_name_bytes_max");
    } else {
      const Bytes text = decoded(value);
      if (text.size() > config_.param_value_bytes_max) {
        wrong = refuse_size(compose({"param ", quote(name), " has"}), text.size(), config_.param_value_bytes_max, "param_value_bytes_max");
      }
      for (const Scope::Param& other : scope.params) {
        if (other.name == name) wrong = compose({"expected each param once, found ", quote(name), " again", at_byte(offset)});
      }
      if (wrong.empty()) scope.params.push_back({name, text});
    }
    if (!wrong.empty()) {
      scope.params.clear();
      return wrong;
    }
  }
  scope.has_params = true;
  return {};
}

std::string MessageDecoder::read_resources() {
  std::string wrong = require(Field::resources, ion::Kind::array);
  if (!wrong.empty()) return wrong;
  ion::Reader reader(members_[Field::resources].value.raw, config_.depth_max);
  reader.enter_array();
  while (reader.next_element()) {
    ion::Slice value;
    reader.read(value);
    const u64 index = message_.resources.size();
    const auto which = [index] { return compose({"resources[", Digits(index), "]"}); };
    if (index == config_.resources_per_message_max) {
      return compose({"expected at most ", Digits(index), " resources (resources_per_message_max), found more"});
    }
    if (value.kind != ion::Kind::string) {
      return compose({which(), " must be a string, found ", ion::name_of(value.kind),
                      at_byte(static_cast<u32>(value.raw.data() - text_.data()))});
    }
    const Bytes name = decoded(value);
    if (name.size() > config_.resource_bytes_max) {
      return refuse_size(compose({which(), " has"}), name.size(), config_.resource_bytes_max, "resource_bytes_max");
    }
    message_.resources.push_back(name);
  }
  return {};
}

std::string MessageDecoder::require(Field field, ion::Kind kind) {
  const Member& member = members_[field];
  if (!member.is_present) return compose({"expected a member \"", name_of(field), "\", ", ion::name_of(kind)});
  if (member.value.kind == kind) return {};
  return compose({"\"", name_of(field), "\" must be ", ion::name_of(kind), ", found ", ion::name_of(member.value.kind),
                  at_byte(member.offset)});
}

std::string MessageDecoder::refuse_size(Bytes what, u64 size, u64 size_max, Bytes limit) const {
  return compose({what, " ", Digits(size), " bytes; at most ", Digits(size_max), " (", limit, ")"});
}

void MessageDecoder::read_raw(Field field, std::optional<Bytes>& raw) {
  const Member& member = members_[field];
  if (!member.is_present) return;
  raw = member.value.raw;
  // The slice of a string comes without its quotes; passed on, it needs them.
  if (member.value.kind == ion::Kind::string) raw = Bytes(raw->data() - 1, raw->size() + 2);
}

Bytes MessageDecoder::decoded(const ion::Slice& slice) {
  if (!slice.escaped) return slice.raw;
  decoded_.clear();
  ion::append_decoded(decoded_, slice.raw);
  return scratch_.copy(decoded_);
}

Bytes MessageDecoder::name_of(Field field) {
  switch (field) {
    case Field::type: return "type";
    case Field::token: return "token";
    case Field::channel: return "channel";
    case Field::params: return "params";
    case Field::data: return "data";
    case Field::context: return "context";
    case Field::resources: return "resources";
    case Field::field_count: break;
  }
  trap();
}

}  // namespace sidekick
