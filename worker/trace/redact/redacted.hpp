// Whole inputs with stand-ins: decides which part of a message, a record, an answer or a path is
// kept, which gets a stand-in of its own because the hub compares it, and which are one text.
// Unknown parts are never kept.
#pragma once

#include "redact/stand_in.hpp"

namespace sidekick::trace {

class Redacted {
 public:
  explicit Redacted(Bytes key) : stand_in_(key) {}

  /// Decoded: a token, a method.
  std::string text(Bytes text);
  /// A message, a body, an answer, a record of one line; ION or not.
  std::string document(Bytes text);
  std::string lines(Bytes record);
  std::string path(Bytes path);
  /// The lines of an upgrade request.
  std::string headers(Bytes lines);
  /// An origin or the value of a header: every word and number by itself, in lower case.
  std::string each_word(Bytes text);
  std::string method(Bytes method);

 private:
  std::string refused(Bytes text);
  void add_values(Bytes text, std::string* apart);

  StandIn stand_in_;
};

}  // namespace sidekick::trace
