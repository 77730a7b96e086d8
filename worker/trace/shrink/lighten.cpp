#include "shrink/lighten.hpp"

#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

namespace sidekick::trace {

namespace {

struct Cut {
  Bytes old;
  std::string text;
};

/// The whole value, with the quotes that a slice of a string lacks.
Bytes whole(const ion::Slice& slice) {
  return slice.kind == ion::Kind::string ? Bytes(slice.raw.data() - 1, slice.raw.size() + 2)
                                         : slice.raw;
}

void add_cuts(Bytes resources, std::vector<Cut>& cuts) {
  ion::Reader reader(resources, ion::depth_ceiling);
  std::vector<Bytes> names;
  ion::Slice name;
  reader.enter_array();
  while (reader.next_element() && reader.read(name)) names.push_back(whole(name));
  constexpr std::size_t left_out_max = 64;
  const auto add = [&](std::size_t first, std::size_t count) {  // without these
    std::string text = "[";
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (i >= first && i < first + count) continue;
      if (text.size() > 1) text += ", ";
      text += names[i];
    }
    cuts.push_back({resources, text + "]"});
  };
  if (names.size() < 2) return;
  const std::size_t half = names.size() / 2;
  add(0, half);
  add(half, names.size() - half);
  for (std::size_t i = 0; names.size() > 2 && i < names.size() && i < left_out_max; ++i) add(i, 1);
}

std::vector<Cut> cuts_of(Bytes text) {
  std::vector<Cut> cuts;
  if (!ion::validate(text, ion::depth_ceiling).ok()) return cuts;
  ion::Reader reader(text, ion::depth_ceiling);
  ion::Kind kind = ion::Kind::null;
  if (!reader.peek(kind) || kind != ion::Kind::object || !reader.enter_object()) return cuts;
  ion::Slice key;
  ion::Slice value;
  while (reader.next_member(key) && reader.read(value)) {
    if (key.raw == "resources" && value.kind == ion::Kind::array) add_cuts(value.raw, cuts);
    if ((key.raw == "data" || key.raw == "context") && whole(value).size() > 4)
      cuts.push_back({whole(value), "null"});
  }
  return cuts;
}

}  // namespace

std::string lighter(const std::string& line, unsigned way) {
  nlohmann::ordered_json parsed = nlohmann::ordered_json::parse(line, nullptr, false);
  for (const char* name : {"bytes", "body"}) {
    if (!parsed.is_object() || !parsed.contains(name) || !parsed[name].is_string()) continue;
    const std::string text = parsed[name];
    const std::vector<Cut> cuts = cuts_of(text);
    if (way >= cuts.size()) return "";
    const Cut& cut = cuts[way];
    const std::size_t at = static_cast<std::size_t>(cut.old.data() - text.data());
    const std::string lighter_text =
        text.substr(0, at) + cut.text + text.substr(at + cut.old.size());
    parsed[name] = lighter_text;
    if (parsed.contains("body_bytes") && parsed["body_bytes"] == text.size())
      parsed["body_bytes"] = lighter_text.size();
    return parsed.dump() + "\n";
  }
  return "";
}

}  // namespace sidekick::trace
