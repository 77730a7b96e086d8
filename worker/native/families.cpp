#include "families.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <fstream>

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

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

void append_family(std::string& out, HostFamily family, double value) {
  const Shape& it = shapes[static_cast<std::size_t>(family)];
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.15g", value);
  out.append("# HELP ").append(it.name).append(" ").append(it.meaning);
  out.append("\n# TYPE ").append(it.name).append(" ").append(it.type);
  out.append("\n").append(it.name).append(" ").append(digits).append("\n");
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
