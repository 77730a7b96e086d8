// The families of metrics that this host appends to those of its hub.
#pragma once

#include <string>

namespace sidekick::host {

enum class HostFamily : unsigned char {
#define SIDEKICK_HOST_FAMILY(type, name, hosts, meaning) name,
#include "sidekick/metrics.def"
};

void append_family(std::string& out, HostFamily family, double value);

/// Resident memory of this process.
double resident_bytes();
/// CPU time of this process.
double cpu_seconds();

}  // namespace sidekick::host
