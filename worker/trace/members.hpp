// Members of a trace's line by their type. Traces are untrusted: a member may be of another kind,
// or missing.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sidekick/base.hpp"

namespace sidekick::trace {

/// 0 if it is not a natural number.
u64 number_of(const nlohmann::json& line, const char* name);

/// The JSON itself if it is not a string ({"base64":...}), empty if it is missing.
std::string text_of(const nlohmann::json& line, const char* name);

/// Empty if it is not a string. Valid as long as the line.
Bytes plain_text_of(const nlohmann::json& line, const char* name);

}  // namespace sidekick::trace
