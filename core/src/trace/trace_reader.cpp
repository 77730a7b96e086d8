#include "trace/trace_reader.hpp"

#include <limits>

#include <istream>
#include <nlohmann/json.hpp>

#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"
#include "trace/printable.hpp"
#include "trace/trace_line.hpp"

namespace sidekick::trace {

namespace {

using nlohmann::json;

constexpr std::size_t byte_fields_max = 8;
constexpr Bytes first_line = "the first line of a trace, {\"trace\":2,...}";

bool decode_base64(Bytes text, std::string& out) {
  constexpr Bytes digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return false;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const bool is_last = at + 4 == text.size();
    const std::size_t padding = !is_last || text[at + 3] != '=' ? 0 : text[at + 2] != '=' ? 1 : 2;
    u32 group = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t digit = i < 4 - padding ? digits.find(text[at + i]) : 0;
      if (digit == Bytes::npos) return false;
      group = group << 6 | static_cast<u32>(digit);
    }
    for (std::size_t i = 0; i < 3 - padding; ++i)
      out += static_cast<char>(group >> (16 - 8 * i) & 0xFF);
  }
  return true;
}

/// Valid UTF-8 is a JSON string, everything else {"base64":"..."}.
bool decode_bytes(const json& value, std::string& out) {
  if (value.is_string()) {
    out = value.get_ref<const std::string&>();
    return true;
  }
  const auto base64 = value.is_object() ? value.find("base64") : value.end();
  return base64 != value.end() && base64->is_string() &&
         decode_base64(base64->get_ref<const std::string&>(), out);
}

}  // namespace

struct Reader::Document {
  json value;

  /// Null if there is no such member.
  const json* find(Bytes name) const {
    const auto at = value.find(std::string(name));
    return at == value.end() ? nullptr : &*at;
  }
};

Reader::Step Reader::next() {
  if (!error_.empty()) return Step::broken;
  follows_cut_ = false;
  lines_missed_ = 0;
  if (!read_line()) return has_header_ ? Step::end : fail(first_line);
  error_ = wrong_with_line(line_);
  if (!error_.empty()) return Step::broken;
  const Document document{json::parse(line_, nullptr, false)};
  if (!document.value.is_object()) return has_header_ ? pass_torn_line() : fail("a JSON object");
  if (document.find("trace") != nullptr) return read_header(document);
  if (!has_header_) return fail(first_line);
  if (document.find("in") != nullptr) return read_input(document);
  if (document.find("out") != nullptr) return Step::action;
  if (document.find("hash") != nullptr) return Step::hash;
  if (document.find("gap") != nullptr) return pass_gap(document);
  return fail("a member \"trace\", \"in\", \"out\" or \"hash\"");
}

bool Reader::read_line() {
  if (!std::getline(stream_, line_)) return false;
  ++line_number_;
  is_cut_ = stream_.eof();
  return true;
}

/// A host that was killed leaves half a line: at the end, or followed by its successor's recording
/// in the next line.
Reader::Step Reader::pass_torn_line() {
  if (is_cut_) return Step::end;
  std::string torn = line_;
  const u64 number = line_number_;
  const bool has_next = read_line();
  if (has_next) error_ = wrong_with_line(line_);
  if (!error_.empty()) return Step::broken;
  const Document next{has_next ? json::parse(line_, nullptr, false) : json()};
  if (next.value.is_object() && next.find("trace") != nullptr) {
    follows_cut_ = true;
    return read_header(next);
  }
  if (!next.value.is_object() && stream_.eof()) {
    is_cut_ = true;
    return Step::end;
  }
  line_ = std::move(torn);
  line_number_ = number;
  return fail("a JSON object");
}

/// {"gap":N}: another recording begins in the next line.
Reader::Step Reader::pass_gap(const Document& gap) {
  if (!read_number(gap, "gap", lines_missed_)) return fail("a number of lines in \"gap\"");
  if (!read_line()) {
    is_cut_ = true;
    return Step::end;
  }
  error_ = wrong_with_line(line_);
  if (!error_.empty()) return Step::broken;
  const Document next{json::parse(line_, nullptr, false)};
  if (!next.value.is_object() && is_cut_) return Step::end;
  if (!next.value.is_object() || next.find("trace") == nullptr) return fail(first_line);
  return read_header(next);
}

Reader::Step Reader::fail(Bytes expected) {
  error_ = compose(
      {"expected ", expected, ", found ", line_.empty() ? "nothing" : printable(line_, 200)});
  return Step::broken;
}

Reader::Step Reader::read_header(const Document& document) {
  const json& format = *document.find("trace");
  if (format != 1 && format != format_version) return fail("trace format 1 or 2");
  format_ = format.get<u32>();
  const json* settings = document.find("config");
  const json* seed = document.find("hash_seed");
  if (settings == nullptr || !settings->is_object() || seed == nullptr)
    return fail("\"config\", an object, and \"hash_seed\"");
  json config = *settings;
  config["hash_seed"] = *seed;
  config["secrets"] = {std::string(replay_secret)};
  const std::string wrong = decode_config(config_text_ = config.dump(), config_);
  if (!wrong.empty())
    return fail(compose({"a configuration of this version (", printable(wrong), ")"}));
  has_header_ = true;
  return Step::header;
}

Reader::Step Reader::read_input(const Document& document) {
  const json* now = document.find("now");
  if (now == nullptr || !now->is_number_unsigned()) return fail("\"now\", a time in ms");
  now_ = now->get<u64>();
  fields_.clear();
  fields_.reserve(byte_fields_max);  // input_ points into it
  const json& type = *document.find("in");
#define SIDEKICK_NEW_U32(name) &&(format_ < 2 || read_number(document, #name, it.name))
#define SIDEKICK_NEW_BYTES(name) &&(format_ < 2 || read_bytes(document, #name, it.name))
#define SIDEKICK_U32(name) &&read_number(document, #name, it.name)
#define SIDEKICK_U64(name) &&read_number(document, #name, it.name)
#define SIDEKICK_BYTES(name) &&read_bytes(document, #name, it.name)
#define SIDEKICK_LIST(name) &&read_list(document, #name, it.name)
#define SIDEKICK_INPUT(Type, name, number, fields)                      \
  if (type == #name) {                                                  \
    [[maybe_unused]] input::Type it;                                    \
    if (!(true fields)) return fail("the fields of a " #name " input"); \
    input_.emplace(it);                                                 \
    complete_format_1();                                                \
    return Step::input;                                                 \
  }
#include "sidekick/border.def"
  return fail("the name of an input");
}

/// Format 1 had no outcome, and status 0 for every forward without an answer.
void Reader::complete_format_1() {
  if (format_ > 1 || input_->tag != InputTag::forward_done) return;
  if (input_->forward_done.status == 0)
    input_->forward_done.outcome = static_cast<u32>(Outcome::broken_off);
}

template <class Number>
bool Reader::read_number(const Document& document, Bytes name, Number& number) {
  const json* field = document.find(name);
  if (field == nullptr || !field->is_number_unsigned() ||
      field->get<u64>() > std::numeric_limits<Number>::max())
    return false;
  number = field->get<Number>();
  return true;
}

bool Reader::read_bytes(const Document& document, Bytes name, Bytes& bytes) {
  SIDEKICK_CHECK(fields_.size() < byte_fields_max);
  std::string& text = fields_.emplace_back();
  if (name == "authorization") {
    const json* authorized = document.find("authorized");
    if (authorized == nullptr || (!authorized->is_boolean() && !authorized->is_null()))
      return false;
    if (authorized->is_boolean())
      text = compose({"Bearer ", authorized->get<bool>() ? replay_secret : Bytes("another")});
  } else {
    const json* field = document.find(name);
    if (field == nullptr || !decode_bytes(*field, text)) return false;
  }
  bytes = text;
  return true;
}

bool Reader::read_list(const Document& document, Bytes name, std::span<const Bytes>& list) {
  const json* field = document.find(name);
  if (field == nullptr || !field->is_array()) return false;
  list_texts_.clear();
  for (const json& value : *field) {
    if (!decode_bytes(value, list_texts_.emplace_back())) return false;
  }
  list_.assign(list_texts_.begin(), list_texts_.end());
  list = list_;
  return true;
}

}  // namespace sidekick::trace
