// The hub's ION reader against the independent reader of ion::Value: the same verdict for every
// text, and printing preserves accepted texts. The pull interface must agree with validate().
#include <string>

#include "fuzz.hpp"
#include "ion/writer.hpp"
#include "sidekick/ion/reader.hpp"
#include "value/value.hpp"
#include "value/value_utf8.hpp"

namespace {

namespace ion = sidekick::ion;
using sidekick::Bytes;
using sidekick::u32;

bool is_utf8_by_the_book(Bytes bytes) {
  while (!bytes.empty()) {
    const ion::Utf8 next = ion::decode_utf8(bytes, ion::Surrogates::refused);
    if (next.size == 0) return false;
    bytes.remove_prefix(next.size);
  }
  return true;
}

/// Decoding agrees with ion::Value, and the printed result is read as the same string.
void check_string(const ion::Slice& slice) {
  FUZZ_CHECK(slice.escaped == (slice.raw.find('\\') != Bytes::npos));
  std::string decoded;
  ion::append_decoded(decoded, slice.raw);
  std::string quoted = "\"";
  quoted.append(slice.raw).append("\"");
  const ion::ParseResult parsed = ion::parse(quoted);
  FUZZ_CHECK(parsed.ok() && parsed.value->as_string() == decoded);

  std::string written;
  ion::append_string(written, decoded);
  FUZZ_CHECK(ion::validate(written, 1).ok());
  const ion::ParseResult again = ion::parse(written);
  FUZZ_CHECK(again.ok() && again.value->as_string() == decoded);
}

/// Recursion is bounded by depth_max.
bool walk(ion::Reader& reader) {
  ion::Kind kind;
  if (!reader.peek(kind)) return false;
  ion::Slice slice;
  if (kind == ion::Kind::object) {
    if (!reader.enter_object()) return false;
    while (reader.next_member(slice)) {
      check_string(slice);
      if (!walk(reader)) return false;
    }
    return reader.ok();
  }
  if (kind == ion::Kind::array) {
    if (!reader.enter_array()) return false;
    while (reader.next_element()) {
      if (!walk(reader)) return false;
    }
    return reader.ok();
  }
  if (!reader.read(slice)) return false;
  FUZZ_CHECK(slice.kind == kind);
  if (kind == ion::Kind::string) check_string(slice);
  return true;
}

void check(Bytes text, u32 depth_max) {
  const ion::Verdict verdict = ion::validate(text, depth_max);
  const ion::ParseResult parsed = ion::parse(text, {depth_max});
  FUZZ_CHECK(verdict.ok() == parsed.ok());

  ion::Reader reader(text, depth_max);
  if (walk(reader)) reader.finish();
  FUZZ_CHECK(reader.verdict().fault == verdict.fault && reader.verdict().offset == verdict.offset);

  if (!verdict.ok()) {
    FUZZ_CHECK(verdict.offset <= text.size());
    const std::string why = ion::describe(verdict, text, depth_max);
    FUZZ_CHECK(!why.empty() && ion::is_utf8(why));
    return;
  }
  FUZZ_CHECK(ion::is_utf8(text));
  const std::string printed = ion::print(*parsed.value);
  FUZZ_CHECK(ion::validate(printed, depth_max).ok());
  const ion::ParseResult again = ion::parse(printed, {depth_max});
  FUZZ_CHECK(again.ok() && ion::print(*again.value) == printed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Exact text(std::string_view(reinterpret_cast<const char*>(data), size));
  FUZZ_CHECK(ion::is_utf8(text) == is_utf8_by_the_book(text));
  check(text, 256);
  check(text, static_cast<u32>(size % 8));  // the depth limit, without texts of 256 levels
  return 0;
}
