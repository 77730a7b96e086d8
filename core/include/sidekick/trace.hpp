// Trace lines: what went in, what came out, as JSON, one object a line. Written here and nowhere else, so that every host records the
// same bytes. Format: docs/architecture.md, "Traces".
#pragma once

#include <string>

#include "sidekick/hub.hpp"

namespace sidekick::trace {

inline constexpr u32 format_version = 1;

/// {"trace":1,"core":"0.1.0","hash_seed":"…","config":{…}} without a newline. Never a secret.
void append_header(std::string& out, const Config& config);

/// The input's line, ended by a newline. An Authorization header becomes "authorized":true or false, as `hub` judges it, or null where
/// there is none.
void append_input(std::string& out, const Hub& hub, Millis now, const Input& input);

/// The action's line, ended by a newline.
void append_action(std::string& out, const Action& action);

}  // namespace sidekick::trace
