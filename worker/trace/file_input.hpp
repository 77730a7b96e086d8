// A file as a std::istream, 64 KiB at a time: replaces std::ifstream for a C++ library without file
// streams (Debian's for WASI).
#pragma once

#include <unistd.h>

#include <cstdio>
#include <istream>
#include <streambuf>

#include "sidekick/base.hpp"

namespace sidekick::trace {

class FileInput : private std::streambuf, public std::istream {
 public:
  /// "-": stdin.
  explicit FileInput(const char* path)
      : std::istream(this), file_(Bytes(path) == "-" ? stdin : std::fopen(path, "rb")) {
    if (file_ == nullptr) setstate(std::ios::failbit);
  }
  ~FileInput() override {
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
    setg(bytes_, bytes_, bytes_ + (size < 0 ? 0 : size));
    return size <= 0 ? Traits::eof() : Traits::to_int_type(bytes_[0]);
  }

  std::FILE* file_;
  bool has_failed_ = false;
  char bytes_[65536];
};

}  // namespace sidekick::trace
