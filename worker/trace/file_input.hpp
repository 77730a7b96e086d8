// A file as a std::istream, 64 KiB at a time: replaces std::ifstream for a C++ library without file
// streams (Debian's for WASI). Shows the progress of reading.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <istream>
#include <streambuf>

#include "progress.hpp"
#include "sidekick/base.hpp"

namespace sidekick::trace {

class FileInput : private std::streambuf, public std::istream {
 public:
  /// "-": stdin.
  explicit FileInput(const char* path)
      : std::istream(this), file_(Bytes(path) == "-" ? stdin : std::fopen(path, "rb")) {
    if (file_ == nullptr) setstate(std::ios::failbit);
    struct stat about = {};
    if (file_ != nullptr && ::fstat(::fileno(file_), &about) == 0 && S_ISREG(about.st_mode))
      size_ = static_cast<u64>(about.st_size);
    progress::add_file(size_);
  }
  ~FileInput() override {
    progress::remove_file(size_, bytes_read_);
    if (file_ != nullptr && file_ != stdin) std::fclose(file_);
  }

  /// Whether reading ended before the end of the file.
  bool has_failed() const { return file_ == nullptr || has_failed_; }

 private:
  using Traits = std::streambuf::traits_type;

  Traits::int_type underflow() override {
    // Not fread, which waits for a full buffer: the writer at stdin may wait for an answer.
    const auto size = file_ == nullptr ? 0 : ::read(::fileno(file_), bytes_, sizeof bytes_);
    has_failed_ |= size < 0;
    const std::size_t count = size < 0 ? 0 : static_cast<std::size_t>(size);
    setg(bytes_, bytes_, bytes_ + count);
    bytes_read_ += count;
    if (count > 0)
      progress::on_read(Bytes(bytes_, count));
    else
      progress::erase();
    return count == 0 ? Traits::eof() : Traits::to_int_type(bytes_[0]);
  }

  std::FILE* file_;
  bool has_failed_ = false;
  u64 size_ = 0;  // 0: unknown
  u64 bytes_read_ = 0;
  char bytes_[65536];
};

}  // namespace sidekick::trace
