#include "families.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string_view>

namespace sidekick::host {

namespace {

struct Shape {
  const char* name;
  const char* type;
  const char* meaning;
};

constexpr Shape shapes[] = {
#define SIDEKICK_HOST_FAMILY(type, name, hosts, meaning) {#name, #type, meaning},
#include "sidekick/metrics.def"
};

struct Bucket {
  HostFamily family;
  const char* le;
  double seconds;
};

constexpr Bucket buckets[] = {
#define SIDEKICK_HOST_BUCKET(name, seconds) {HostFamily::name, #seconds, seconds},
#include "sidekick/metrics.def"
};

void append_head(std::string& out, const Shape& it) {
  out.append("# HELP ").append(it.name).append(" ").append(it.meaning);
  out.append("\n# TYPE ").append(it.name).append(" ").append(it.type).append("\n");
}

void append_series(std::string& out, std::string_view series, double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.15g", value);
  out.append(series).append(" ").append(digits).append("\n");
}

const Shape& shape_of(HostFamily family) { return shapes[static_cast<std::size_t>(family)]; }

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

void append_family(std::string& out, HostFamily family, double value) {
  append_head(out, shape_of(family));
  append_series(out, shape_of(family).name, value);
}

Histogram::Histogram(HostFamily family) : family_(family), counts_(std::size(buckets)) {}

void Histogram::observe(double seconds) {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (buckets[i].family == family_ && seconds <= buckets[i].seconds) ++counts_[i];
  }
  ++count_;
  sum_ += seconds;
}

void Histogram::append_to(std::string& out) const {
  const std::string name = shape_of(family_).name;
  append_head(out, shape_of(family_));
  const auto append = [&](const std::string& series, auto value) {
    append_series(out, name + series, static_cast<double>(value));
  };
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (buckets[i].family == family_)
      append(std::string("_bucket{le=\"") + buckets[i].le + "\"}", counts_[i]);
  }
  append("_bucket{le=\"+Inf\"}", count_);
  append("_sum", sum_);
  append("_count", count_);
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

}  // namespace sidekick::host
