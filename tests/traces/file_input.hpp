// A file as a std::istream, 64 KiB at a time: std::ifstream for a C++ library that has no file streams (Debian's for WASI).
#pragma once

#include <cstdio>
#include <istream>
#include <streambuf>

namespace sidekick::trace {

class FileInput : private std::streambuf, public std::istream {
 public:
  explicit FileInput(const char* path) : std::istream(this), file_(std::fopen(path, "rb")) {
    if (file_ == nullptr) setstate(std::ios::failbit);
  }
  ~FileInput() override {
    if (file_ != nullptr) std::fclose(file_);
  }

  /// Whether reading ended for another reason than the end of the file.
  bool has_failed() const { return file_ == nullptr || std::ferror(file_) != 0; }

 private:
  using Traits = std::streambuf::traits_type;

  Traits::int_type underflow() override {
    const std::size_t size = file_ == nullptr ? 0 : std::fread(bytes_, 1, sizeof bytes_, file_);
    setg(bytes_, bytes_, bytes_ + size);
    return size == 0 ? Traits::eof() : Traits::to_int_type(bytes_[0]);
  }

  std::FILE* file_;
  char bytes_[65536];
};

}  // namespace sidekick::trace
