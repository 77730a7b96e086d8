#include "shrink/answer_check.hpp"

#include "sidekick/text.hpp"
#include "trace/printable.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes header = "{\"trace\":";
constexpr Bytes input = "{\"in\":";
constexpr Bytes action = "{\"out\":";
constexpr Bytes hash = "{\"hash\":";

/// An incomplete line may still become one.
bool may_be(Bytes line, Bytes kind) { return kind.starts_with(line.substr(0, kind.size())); }

}  // namespace

std::string AnswerCheck::look(Bytes text) {
  while (at_ < text.size()) {
    const std::size_t end = text.find('\n', at_);
    const bool is_whole = end != Bytes::npos;
    const Bytes line = text.substr(at_, is_whole ? end - at_ + 1 : Bytes::npos);
    if (at_ == 0 ? !may_be(line, header)
                 : !may_be(line, input) && !may_be(line, action) && !may_be(line, hash)) {
      return compose({"expected ",
                      at_ == 0 ? "the header" : "{\"in\":..., {\"out\":... or {\"hash\":...",
                      ", found ", printable(line, 100)});
    }
    if (!is_whole) break;
    if (line.starts_with(input)) {
      ++inputs_;
      input_at_ = at_;
    }
    at_ = end + 1;
  }
  if (inputs_ > inputs_asked_)
    return compose({"expected ", Digits(inputs_asked_), " inputs, found more"});
  if (text.size() - input_at_ <= bytes_per_input_max) return "";
  return compose({"expected at most ", Digits(bytes_per_input_max),
                  " bytes of actions after an input, found more"});
}

std::string AnswerCheck::end() const {
  return inputs_ == inputs_asked_
             ? ""
             : compose({"expected ", Digits(inputs_asked_), " inputs, found ", Digits(inputs_)});
}

}  // namespace sidekick::trace
