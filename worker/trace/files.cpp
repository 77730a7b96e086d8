#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::trace {

int unreadable(const char* path, const Reader& reader) {
  progress::erase();
  std::fprintf(stderr, "%s:%llu: %s\n", path, static_cast<unsigned long long>(reader.line_number()),
               reader.error().c_str());
  return 2;
}

int unusable(const std::string& subject, const std::string& what) {
  progress::erase();
  std::fprintf(stderr, "%s: %s\n", subject.c_str(), what.c_str());
  return 2;
}

bool can_read(const char* path) {
  if (Bytes(path) == "-") return true;
  const auto is_wrong = [path](const std::string& what) { return unusable(path, what) == 0; };
  struct stat about = {};
  std::FILE* file = ::stat(path, &about) == 0 ? std::fopen(path, "rb") : nullptr;
  if (file == nullptr) return is_wrong(compose({"cannot be opened: ", std::strerror(errno)}));
  char begin[64] = {};
  // A pipe must not lose any bytes.
  const std::size_t size =
      S_ISREG(about.st_mode) ? std::fread(begin, 1, sizeof begin - 1, file) : 1;
  std::fclose(file);
  if (S_ISDIR(about.st_mode)) return is_wrong("is a folder; expected a trace, which is a file");
  if (size == 0)
    return is_wrong("is empty; expected a trace, whose first line is {\"trace\":2,...}");
  constexpr Bytes format = "{\"trace\":";
  const char first = Bytes(begin).starts_with(format) ? begin[format.size()] : '\0';
  const unsigned long found = first >= '0' && first <= '9'
                                  ? std::strtoul(begin + format.size(), nullptr, 10)
                                  : format_version;
  if (found >= 1 && found <= format_version) return true;
  return is_wrong(
      compose({"expected a trace of format 1 or ", Digits(format_version), ", found format ",
               Digits(found), ": use the sidekick-trace of the version that recorded it"}));
}

namespace {

/// Checked before there is anything to write, since shrink may take long. Leaves no file behind;
/// sets errno.
bool can_write(const char* path) {
  struct stat about = {};
  const bool is_there = ::stat(path, &about) == 0;
  if (is_there && !S_ISREG(about.st_mode)) return true;  // opening a pipe would wait
  const int file = ::open(path, O_WRONLY | (is_there ? 0 : O_CREAT | O_EXCL), 0600);
  if (file < 0) return false;
  ::close(file);
  if (!is_there) ::unlink(path);
  return true;
}

}  // namespace

std::string wrong_with_out(const Told& told) {
  if (told.out.empty()) return "expected -o OUT, the file to write";
  if (told.out == "-")
    return "expected a file after -o, found -; stdout is /dev/stdout, a file of that name ./-";
  struct stat in = {};
  struct stat out = {};
  const bool are_there = ::stat(told.files[0], &in) == 0 && ::stat(told.out.c_str(), &out) == 0;
  if (told.out == told.files[0] ||
      (are_there && in.st_dev == out.st_dev && in.st_ino == out.st_ino)) {
    return compose({"expected another file after -o than the trace itself, found ", told.out});
  }
  if (are_there && S_ISDIR(out.st_mode))
    return compose({"expected a file after -o, found the folder ", told.out});
  return can_write(told.out.c_str())
             ? ""
             : compose({"expected a file that can be written after -o, found ", told.out, ": ",
                        std::strerror(errno)});
}

std::FILE* create_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  return file < 0 ? nullptr : ::fdopen(file, "wb");
}

}  // namespace sidekick::trace
