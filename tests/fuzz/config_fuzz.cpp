// Configurations: either rejected with a printable reason and without a change, or accepted within
// every bound and repeated by the trace header.
#include <nlohmann/json.hpp>
#include <string>

#include "fuzz.hpp"
#include "sidekick/hub.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/trace.hpp"

using namespace sidekick;

namespace {

bool is_equal(const Config& a, const Config& b) {
  for (const LimitEntry& limit : limits) {
    if (a.*limit.value != b.*limit.value) return false;
  }
  return a.secrets == b.secrets && a.hash_seed == b.hash_seed &&
         a.allowed_origins == b.allowed_origins;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Exact text(std::string_view(reinterpret_cast<const char*>(data), size));
  Config config;
  const std::string wrong = decode_config(text, config);
  FUZZ_CHECK(ion::is_utf8(wrong));
  if (!wrong.empty()) {
    FUZZ_CHECK(is_equal(config, Config()));
    return 0;
  }
  for (const LimitEntry& limit : limits)
    FUZZ_CHECK(config.*limit.value >= limit.lowest && config.*limit.value <= limit.highest);
  FUZZ_CHECK(!config.secrets.empty() && config.secrets.size() <= 16);
  for (const std::string& secret : config.secrets) {
    FUZZ_CHECK(!secret.empty());
    FUZZ_CHECK(Hub(config).is_authorized("Bearer " + secret));
    FUZZ_CHECK(!Hub(config).is_authorized("Bearer "));
  }

  std::string header;
  trace::append_header(header, config);
  nlohmann::json told = nlohmann::json::parse(header, nullptr, false);
  FUZZ_CHECK(told.is_object());
  nlohmann::json settings = told["config"];
  settings["hash_seed"] = told["hash_seed"];
  settings["secrets"] = {"secret"};
  Config again;
  FUZZ_CHECK(decode_config(settings.dump(), again).empty());
  again.secrets = config.secrets;
  FUZZ_CHECK(is_equal(again, config));
  return 0;
}
