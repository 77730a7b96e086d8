// The families of metrics that this host appends to those of its hub.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::host {

enum class HostFamily : unsigned char {
#define SIDEKICK_HOST_FAMILY(type, name, hosts, meaning) name,
#include "sidekick/metrics.def"
};

void append_family(std::string& out, HostFamily family, double value);

/// The values of a family of the type histogram.
class Histogram {
 public:
  explicit Histogram(HostFamily family);

  void observe(double seconds);
  void append_to(std::string& out) const;

 private:
  HostFamily family_;
  std::vector<u64> counts_;  ///< by bucket of the list, each with the buckets below it
  u64 count_ = 0;
  double sum_ = 0;
};

/// Resident memory of this process.
double resident_bytes();
/// CPU time of this process.
double cpu_seconds();

}  // namespace sidekick::host
