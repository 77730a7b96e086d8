// Everything around the hub: clients that behave, misbehave and attack, the app server, and
// failures of the host. Looks at the trial to know what is possible, draws the next event, and
// changes nothing.
#pragma once

#include <deque>

#include "trial.hpp"

namespace sidekick::sim {

class Crowd {
 public:
  explicit Crowd(const Swarm& swarm);

  Op next(const Trial& trial);

  /// Closes everything, one op at a time, until nothing can remain. Returns false when done.
  bool leave(const Trial& trial, Op& op);

 private:
  void pass_time(const Trial& trial);
  u32 draw(const u32* weights, u32 count);
  Op op_of(OpKind kind) const;
  Op open_or_frame(const Trial& trial, u32 client);
  Op knock();
  Op frame(const Trial& trial, u32 client);
  Op http(const Trial& trial);
  Op answer(const Trial& trial);
  Op restart();
  bool draw_drain(const Trial& trial, Op& op);
  void draw_resources(Op& op, u32 usual_max);
  void draw_flaw(Op& op);
  void draw_extension(const Trial& trial, Op& op);
  void draw_position(const Trial& trial, u16 session, Op& op);
  u16 token_for(u32 client);
  u16 home_of(u32 token) const { return static_cast<u16>(token % swarm_.scopes); }
  Payload payload(bool may_be_deep);

  const Swarm& swarm_;
  Dice dice_;
  Dice greetings_;  ///< of the extension: worlds without it are drawn as if it did not exist
  Dice drains_;     ///< likewise
  Millis now_ = first_now;
  u32 serial_ = 0;
  std::vector<std::deque<Op>> sent_;        ///< by session: its latest sends
  std::vector<std::deque<Op>> on_the_way_;  ///< by client: sent, not yet received; what the client
                                            ///< knew then may be outdated
};

}  // namespace sidekick::sim
