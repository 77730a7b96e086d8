#include "hub/records.hpp"

#include "ion/writer.hpp"
#include "tables/engine.hpp"

namespace sidekick {

namespace {

constexpr Bytes change_names[] = {"tokens", "tokens_gone", "resources", "resources_gone"};

void append_strings(TextArena& out, Bytes name, u32 count, auto&& at) {
  ion::append_string(out, name);
  out.append(": [");
  for (u32 i = 0; i < count; ++i) {
    if (i > 0) out.append(", ");
    ion::append_string(out, at(i));
  }
  out.append("]");
}

Bytes read_text(const ion::Slice& slice, TextArena& scratch) {
  if (!slice.escaped) return slice.raw;
  std::string decoded;
  ion::append_decoded(decoded, slice.raw);
  return scratch.copy(decoded);
}

bool read_strings(ion::Reader& reader, TextArena& scratch, std::vector<Bytes>& out) {
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::array || !reader.enter_array()) return false;
  while (reader.next_element()) {
    ion::Slice value;
    if (!reader.read(value) || value.kind != ion::Kind::string) return false;
    out.push_back(read_text(value, scratch));
  }
  return reader.ok();
}

bool read_params(ion::Reader& reader, TextArena& scratch, Scope& scope) {
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object || !reader.enter_object()) return false;
  ion::Slice key;
  while (reader.next_member(key)) {
    ion::Slice value;
    if (!reader.read(value) || value.kind != ion::Kind::string) return false;
    scope.params.push_back({read_text(key, scratch), read_text(value, scratch)});
  }
  scope.has_params = reader.ok();
  return scope.has_params;
}

}  // namespace

Bytes encode_token_record(TextArena& out, const Token& token, u64 registered_at) {
  out.append("{ \"channel\": ")
      .append(token.channel())
      .append(", \"params\": ")
      .append(token.params());
  if (!token.context().empty()) out.append(", \"context\": ").append(token.context());
  if (registered_at != 0) out.write({", \"registered_at\": ", Digits(registered_at)});
  return out.append(" }").finish();
}

Bytes encode_client_change(TextArena& out, ClientChange change, std::span<const Bytes> names) {
  out.append("\n{ ");
  ion::append_string(out, change_names[static_cast<u8>(change)]);
  ion::append_strings(out.append(": "), names);
  return out.append(" }").finish();
}

Bytes encode_client_record(TextArena& out, const Client& client, Tokens& tokens,
                           const Topics& topics, const Epoch& epoch) {
  out.write({"{ "});
  if (!client.session.empty()) {
    out.write({"\"session\": \"", client.session, "\", \"epoch\": \""});
    append_epoch(out, epoch);
    out.write({"\", "});
  }
  append_strings(out, "tokens", static_cast<u32>(client.tokens.size()),
                 [&](u32 i) { return tokens[client.tokens[i]].key(); });
  out.write({", "});
  append_strings(out, "resources", static_cast<u32>(client.resources.size()), [&](u32 i) {
    return Bytes(topics.name(client.resources[i])).substr(Bytes("resource:").size());
  });
  return out.append(" }").finish();
}

// A record may be as large as the limits in force when it was written, so no limit is applied here.

bool decode_token_record(Bytes record, TextArena& scratch, TokenRecord& out) {
  ion::Reader reader(record, ion::depth_ceiling);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object) return false;
  reader.enter_object();
  ion::Slice key;
  while (reader.next_member(key)) {
    ion::Slice value;
    if (key.raw == "params") {
      if (!read_params(reader, scratch, out.scope)) return false;
      continue;
    }
    if (!reader.read(value)) return false;
    if (key.raw == "channel" && value.kind == ion::Kind::string) {
      out.scope.channel = read_text(value, scratch);
    } else if (key.raw == "context") {
      out.context = value.kind == ion::Kind::string
                        ? Bytes(value.raw.data() - 1, value.raw.size() + 2)
                        : value.raw;
    } else if (key.raw == "registered_at" && !decode_stamp(value.raw, out.registered_at)) {
      return false;
    }
  }
  return reader.finish() && out.scope.channel.has_value() && out.scope.has_params;
}

bool decode_client_line(Bytes line, TextArena& scratch, ClientLine& out) {
  ion::Reader reader(line, ion::depth_ceiling);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object) return false;
  reader.enter_object();
  ion::Slice key;
  while (reader.next_member(key)) {
    u8 change = 0;
    while (change < std::size(change_names) && change_names[change] != key.raw) ++change;
    ion::Slice value;
    const bool is_read = change < std::size(change_names)
                             ? read_strings(reader, scratch, out.names[change])
                             : reader.read(value);
    if (!is_read) return false;
    // Other names are of a later version.
    if (value.kind != ion::Kind::string) continue;
    if (key.raw == "session") out.session = value.raw;
    if (key.raw == "epoch") out.epoch = value.raw;
  }
  return reader.finish();
}

}  // namespace sidekick
