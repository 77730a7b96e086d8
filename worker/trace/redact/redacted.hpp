// Whole inputs with stand-ins: decides which part of a message, a record, an answer or a path is
// kept, which gets a stand-in of its own because the hub compares it, and which are one text.
// Unknown parts are never kept.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "redact/stand_in.hpp"

namespace sidekick::trace {

class Redacted {
 public:
  explicit Redacted(Bytes key) : stand_in_(key) {}

  /// Of the engine. The hub chooses the shard of a token, resource or channel by its name, so from
  /// now on their stand-ins are on the same one.
  void set_engine(u32 shards, Bytes epoch) {
    shards_ = shards;
    engine_epoch_ = epoch;
  }

  /// Decoded, like the next four.
  std::string text(Bytes text);
  std::string token(Bytes token);
  /// The name of a resource or channel in the engine.
  std::string topic(Bytes name);
  /// Keeps one that a hub has drawn.
  std::string epoch(Bytes epoch);
  /// Keeps the name that a hub gives to a client that has not said hello.
  std::string session(Bytes session);
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
  /// Of decoded texts: names and values.
  using Params = std::vector<std::pair<std::string, std::string>>;

  /// The name whose shard stays the same, for a decoded text and for its stand-in.
  struct Name {
    std::function<std::string(Bytes)> original;
    std::function<std::string(Bytes)> stand_in;
  };
  static Name name_of_token();
  static Name name_of_resource();
  Name name_of_channel(const Params& params);
  Params with_stand_ins(const Params& params);

  std::string refused(Bytes text);
  std::string part(Bytes written, Writing writing, const Name* name);
  void add_values(Bytes text, std::string* apart, const Name* name);

  bool is_kept_epoch(Bytes epoch) const;

  StandIn stand_in_;
  u32 shards_ = 0;
  std::string engine_epoch_;
};

}  // namespace sidekick::trace
