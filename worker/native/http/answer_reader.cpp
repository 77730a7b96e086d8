#include "http/answer_reader.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace sidekick::host {

namespace {

/// Maximum size of a head, including the 1xx responses before it, of a chunk's line, of trailers.
constexpr std::size_t lines_bytes_max{64 * 1024};
/// Maximum number of 1xx responses before the final one.
constexpr unsigned interim_answers_max = 16;
constexpr std::string_view blanks = " \t";
constexpr std::size_t npos = std::string_view::npos;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name(std::string_view text) {
  const auto is_token = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token);
}

bool is_control(char c) {
  const auto byte = static_cast<u8>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return result;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string_view last_of_list(std::string_view text) {
  const std::size_t comma = text.rfind(',');
  return trim(comma == npos ? text : text.substr(comma + 1));
}

/// Digits, but not so many that they would overflow.
std::optional<u64> number(std::string_view text, int base = 10, std::size_t digits_max = 15) {
  u64 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || text.size() > digits_max || error != std::errc() ||
      end != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// `timeout=5, max=100`
std::optional<u64> keep_alive_timeout(std::string_view value) {
  constexpr std::string_view name = "timeout=";
  const std::string text = lower(value);
  const std::size_t at = text.find(name);
  if (at == npos || (at > 0 && std::string_view(" ,;").find(text[at - 1]) == npos))
    return std::nullopt;
  const std::string_view digits = std::string_view(text).substr(at + name.size());
  const std::size_t end = static_cast<std::size_t>(
      std::find_if_not(digits.begin(), digits.end(), is_digit) - digits.begin());
  return number(digits.substr(0, end), 10, 9);
}

}  // namespace

void AnswerReader::push(std::string_view bytes) {
  while (!bytes.empty() && !is_over()) bytes.remove_prefix(read(bytes));
  if (!bytes.empty()) is_doubtful_ = true;  // the answer has ended, and something follows
}

void AnswerReader::end() {
  if (is_over()) return;
  if (state_ == State::body_until_the_end) return over();
  fail(is_untouched() ? "the connection was closed before an answer came"
                      : "the connection was closed in the middle of the answer");
}

bool AnswerReader::is_clean() const {
  const bool is_persistent = is_http_1_0_ ? connection_.find("keep-alive") != std::string::npos
                                          : connection_.find("close") == std::string::npos;
  return is_over() && is_persistent && !is_doubtful_ && error_.empty();
}

std::size_t AnswerReader::read(std::string_view bytes) {
  if (state_ == State::body_until_the_end) {
    keep(bytes);
    return bytes.size();
  }
  if (state_ != State::body_of_known_length && state_ != State::chunk) return read_line(bytes);
  const auto size = static_cast<std::size_t>(std::min<u64>(left_, bytes.size()));
  left_ -= size;
  keep(bytes.substr(0, size));
  if (left_ > 0 || is_over()) return size;
  if (state_ == State::chunk)
    state_ = State::end_of_a_chunk;
  else
    over();
  return size;
}

std::size_t AnswerReader::read_line(std::string_view bytes) {
  const std::size_t found = bytes.find('\n');
  const std::string_view part = bytes.substr(0, found);
  lines_bytes_ += part.size() + 1;
  if (lines_bytes_ > lines_bytes_max) {
    fail("a header, chunk or trailer of the answer has no end");
    return bytes.size();
  }
  if (found == npos) {
    line_ += part;
    return part.size();
  }
  std::string whole;
  std::string_view line = part;
  if (!line_.empty()) {
    whole = std::exchange(line_, {}) + std::string(part);
    line = whole;
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  on_line(line);
  return found + 1;
}

void AnswerReader::on_line(std::string_view line) {
  switch (state_) {
    case State::status_line:
      return on_status_line(line);
    case State::interim_head:
      if (line.empty()) state_ = State::status_line;
      return;
    case State::head:
      return line.empty() ? on_head() : on_header(line);
    case State::size_of_a_chunk:
      return on_chunk_size(line);
    case State::end_of_a_chunk:
      if (!line.empty()) return fail("a chunk of the answer is longer than its size");
      state_ = State::size_of_a_chunk;
      return;
    case State::trailers:
      if (line.empty()) over();
      return;
    case State::body_of_known_length:
    case State::body_until_the_end:
    case State::chunk:
    case State::over:
      return;
  }
}

void AnswerReader::on_status_line(std::string_view line) {
  if (line.empty()) return;  // left over by an interim answer, or by an app server that adds lines
  constexpr std::string_view version = "HTTP/1.";
  constexpr std::size_t at = version.size() + 2;  // of the status
  const bool is_http = line.size() >= at + 3 && line.starts_with(version) &&
                       is_digit(line[version.size()]) && line[version.size() + 1] == ' ' &&
                       (line.size() == at + 3 || line[at + 3] == ' ');
  const std::optional<u64> status = is_http ? number(line.substr(at, 3)) : std::nullopt;
  if (!status || *status < 100) return fail("the answer is not HTTP/1");
  if (*status < 200 && *status != 101) {
    if (++interim_answers_ > interim_answers_max) return fail("too many 1xx responses");
    state_ = State::interim_head;
    return;
  }
  is_http_1_0_ = line[version.size()] == '0';
  status_ = static_cast<u32>(*status);
  state_ = State::head;
}

void AnswerReader::on_header(std::string_view line) {
  const std::size_t colon = line.find(':');
  const std::string_view value = colon == npos ? "" : trim(line.substr(colon + 1));
  // A folded line, or one that another reader might read as a header that we do not see.
  if (colon == npos || !is_name(line.substr(0, colon)) ||
      std::any_of(value.begin(), value.end(), is_control)) {
    is_doubtful_ = true;
    return;
  }
  const std::string name = lower(line.substr(0, colon));
  if (name == "content-length") {
    for (std::size_t at = 0; at <= value.size();) {
      const std::size_t end = std::min(value.find(',', at), value.size());
      lengths_.emplace_back(trim(value.substr(at, end - at)));
      at = end + 1;
    }
  } else if (name == "transfer-encoding") {
    is_encoded_ = true;
    is_chunked_ = lower(last_of_list(value)) == "chunked";
  } else if (name == "connection") {
    connection_ += lower(value) + ' ';
  } else if (name == "keep-alive") {
    if (const auto seconds = keep_alive_timeout(value)) keep_alive_seconds_ = seconds;
  } else if (name == "location" && !location_) {
    location_ = value;
  }
}

/// RFC 9112 section 6.3.
void AnswerReader::on_head() {
  const bool has_length = !lengths_.empty();
  const bool is_same = has_length && std::all_of(lengths_.begin(), lengths_.end(),
                                                 [&](const auto& it) { return it == lengths_[0]; });
  std::optional<u64> length;
  if (is_same) length = number(lengths_[0]);
  lines_bytes_ = 0;
  if (status_ == 204 || status_ == 304 || status_ == 101) {
    // Some app servers send a body nevertheless, and others take its bytes for the next answer.
    if (status_ == 101 || is_encoded_ || (has_length && length.value_or(1) != 0))
      is_doubtful_ = true;
    return over();
  }
  if (lengths_.size() > 1 || (is_encoded_ && (has_length || is_http_1_0_))) is_doubtful_ = true;
  if (is_encoded_) {
    state_ = is_chunked_ ? State::size_of_a_chunk : State::body_until_the_end;
    if (!is_chunked_) is_doubtful_ = true;
  } else if (!has_length) {
    state_ = State::body_until_the_end;
    is_doubtful_ = true;
  } else if (!length) {
    fail("the answer has no valid length");
  } else {
    left_ = *length;
    state_ = State::body_of_known_length;
    if (left_ == 0) over();
  }
}

void AnswerReader::on_chunk_size(std::string_view line) {
  const std::string_view digits = line.substr(0, line.find(';'));
  const std::size_t end = digits.find_last_not_of(blanks);
  const auto size = number(end == npos ? "" : digits.substr(0, end + 1), 16, 8);
  if (!size) return fail("a chunk of the answer has no size");
  left_ = *size;
  lines_bytes_ = 0;
  state_ = left_ == 0 ? State::trailers : State::chunk;
}

void AnswerReader::keep(std::string_view bytes) {
  if (is_taken()) return;
  const std::string_view kept = bytes.substr(0, body_bytes_max_ - body_.size());
  body_ += kept;
  if (kept.size() == bytes.size()) return;
  is_cut_ = true;
  is_doubtful_ = true;
  over();
}

void AnswerReader::fail(const char* reason) {
  error_ = reason;
  over();
}

}  // namespace sidekick::host
