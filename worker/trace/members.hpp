// Members of a trace's line by their type. A trace comes from anywhere: a member may be of another
// kind, or not there.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sidekick/base.hpp"

namespace sidekick::trace {

/// 0 where it is no natural number.
u64 number_of(const nlohmann::json& line, const char* name);

/// The JSON itself where it is no text ({"base64":...}), empty where it is not there.
std::string text_of(const nlohmann::json& line, const char* name);

/// Empty where it is no text. Valid as long as the line.
Bytes plain_text_of(const nlohmann::json& line, const char* name);

}  // namespace sidekick::trace
