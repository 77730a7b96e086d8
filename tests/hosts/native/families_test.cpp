// The families of metrics of the native host.
#include "families.hpp"

#include <doctest/doctest.h>

namespace sidekick::host {

TEST_CASE("a histogram counts a value in each bucket whose bound is not below it") {
  Histogram histogram(HostFamily::sidekick_host_loop_lag_seconds);
  for (const double seconds : {0.0, 0.0009, 0.001, 0.0011, 0.5, 5.0, 5.5})
    histogram.observe(seconds);
  std::string text;
  histogram.append_to(text);
  const std::string lines = text.substr(text.find("\n# TYPE ") + 1);
  CHECK(lines == R"(# TYPE sidekick_host_loop_lag_seconds histogram
sidekick_host_loop_lag_seconds_bucket{le="0.001"} 3
sidekick_host_loop_lag_seconds_bucket{le="0.005"} 4
sidekick_host_loop_lag_seconds_bucket{le="0.01"} 4
sidekick_host_loop_lag_seconds_bucket{le="0.05"} 4
sidekick_host_loop_lag_seconds_bucket{le="0.1"} 4
sidekick_host_loop_lag_seconds_bucket{le="0.5"} 5
sidekick_host_loop_lag_seconds_bucket{le="1"} 5
sidekick_host_loop_lag_seconds_bucket{le="5"} 6
sidekick_host_loop_lag_seconds_bucket{le="+Inf"} 7
sidekick_host_loop_lag_seconds_sum 11.003
sidekick_host_loop_lag_seconds_count 7
)");
}

}  // namespace sidekick::host
