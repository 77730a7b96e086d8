// Runs a fuzz target over files, without libFuzzer: findings that became tests, and a smoke test
// with every compiler.
//
// PROGRAM [--mutations N] FILE_OR_FOLDER...   also runs N seeded mutations of each file (default 0)
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "fuzz.hpp"

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_regular_file(error) && entry.path().filename().string().front() != '.')
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

/// mt19937 only, no distributions: those differ between standard libraries.
std::string mutate(std::string bytes, std::mt19937& random) {
  for (std::uint32_t rounds = 1 + random() % 4; rounds > 0; --rounds) {
    const std::size_t at = bytes.empty() ? 0 : random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes.insert(at, 1, static_cast<char>(random()));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<char>(random());
        break;
      case 2:
        bytes.erase(at, random() % 8);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, random() % 16));
        break;
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long mutations = 0;
  unsigned long runs = 0;
  std::mt19937 random(1);
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--mutations" && i + 1 < argc) {
      mutations = std::strtoul(argv[++i], nullptr, 10);
      continue;
    }
    for (const fs::path& path : files_of(argv[i])) {
      std::ifstream file(path, std::ios::binary);
      if (!file) {
        std::fprintf(stderr, "%s: expected a readable file or folder\n", path.c_str());
        return 2;
      }
      const std::string bytes{std::istreambuf_iterator<char>(file),
                              std::istreambuf_iterator<char>()};
      if (std::getenv("VERBOSE") != nullptr) std::fprintf(stderr, "%s\n", path.c_str());
      run(bytes);
      ++runs;
      for (unsigned long n = 0; n < mutations; ++n, ++runs) run(mutate(bytes, random));
    }
  }
  std::printf("%lu runs, no finding\n", runs);
  return 0;
}
