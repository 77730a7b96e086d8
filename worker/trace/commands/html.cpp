// Prints the page of the inspector (worker/inspector/) with a recording inside, in base64. The page
// is a file that scripts/build makes; this tool adds nothing else to it.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "command.hpp"
#include "files.hpp"
#include "sidekick/text.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes slot = "<!--recording-->";
constexpr std::size_t piece_bytes = 3 << 18;  // each piece of base64 can be decoded by itself

/// Beside the program, or in the folder above: build/inspector.html for build/native/.
std::string find_page() {
  char program[4096];
  const auto size = ::readlink("/proc/self/exe", program, sizeof program);
  if (size <= 0) return "";
  std::string folder(program, static_cast<std::size_t>(size));
  for (int level = 0; level < 2; ++level) {
    folder.resize(folder.rfind('/'));
    std::string page = compose({folder, "/inspector.html"});
    if (::access(page.c_str(), R_OK) == 0) return page;
  }
  return "";
}

bool read_file(const std::string& path, std::string& text) {
  FileInput file(path.c_str());
  std::ostringstream read;
  read << file.rdbuf();
  text = std::move(read).str();
  return !file.has_failed();
}

std::string to_base64(Bytes bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve(bytes.size() / 3 * 4 + 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    u32 word = 0;
    for (std::size_t i = 0; i < 3; ++i)
      word = word << 8 | (i < count ? static_cast<u8>(bytes[at + i]) : 0);
    for (std::size_t i = 0; i < 4; ++i) out += i <= count ? digits[word >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

/// As encodeURIComponent: nothing in it can end an attribute.
std::string encode_name(Bytes name) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : name) {
    const u8 byte = static_cast<u8>(c);
    const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_';
    if (is_plain) {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

bool print(Bytes text) { return std::fwrite(text.data(), 1, text.size(), stdout) == text.size(); }

}  // namespace

int html(const Told& told) {
  const char* path = told.files[0];
  const std::string page_path = told.page.empty() ? find_page() : told.page;
  if (page_path.empty())
    return unusable("inspector.html",
                    "expected beside this program; run scripts/build, or use --page FILE");
  std::string page;
  if (!read_file(page_path, page))
    return unusable(page_path, compose({"cannot be read: ", std::strerror(errno)}));
  const std::size_t at = page.find(slot);
  if (at == std::string::npos)
    return unusable(page_path, "is not the page that covenant-sidekick-replay --html prints");
  if (!can_read(path)) return 2;
  Bytes name = path;
  name.remove_prefix(name.rfind('/') + 1);  // all of it without a slash
  const std::string begin = compose(
      {"<script type=\"text/plain\" class=\"recording\" data-encoding=\"none\" data-name=\"",
       encode_name(name), "\">"});
  FileInput stream(path);
  std::string piece;
  bool is_printed = print(Bytes(page).substr(0, at));
  do {
    piece.resize(piece_bytes);
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    piece.resize(static_cast<std::size_t>(stream.gcount()));
    is_printed = is_printed && print(begin) && print(to_base64(piece)) && print("</script>\n");
  } while (is_printed && piece.size() == piece_bytes);
  is_printed = is_printed && print(Bytes(page).substr(at + slot.size()));
  if (!is_printed) return unusable("stdout", "cannot be written to");
  return stream.has_failed() ? unusable(path, "cannot be read to its end") : 0;
}

}  // namespace sidekick::trace
