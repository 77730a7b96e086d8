#include "story.hpp"

namespace sidekick::sim {

namespace {

bool live(const Swarm& swarm, Crowd& crowd, Trial& trial, std::vector<Op>& ops) {
  for (u32 i = 0; i < swarm.steps; ++i) {
    ops.push_back(crowd.next(trial));
    if (swarm.steps - i <= turn_max + 1u) ops.back().fail = no_cut;  // no turn goes on at the end
    if (!trial.take(ops.back())) return false;
  }
  // After the last socket has closed and the timers have fired, the hub must be like a new one.
  Op op;
  while (crowd.leave(trial, op)) {
    ops.push_back(op);
    if (!trial.take(op)) return false;
  }
  op = Op();
  op.now = trial.model().now();
  op.kind = OpKind::http;
  op.verb = Verb::health;
  ops.push_back(op);
  if (!trial.take(op)) return false;
  if (trial.has_open_requests()) {
    op.kind = OpKind::timer;
    ops.push_back(op);
    if (!trial.take(op)) return false;
  }
  return trial.check_answered() && trial.check_rows() && trial.check_memory();
}

}  // namespace

void Story::run(bool is_canary) {
  Trial trial(swarm, words, nullptr, is_canary);
  Crowd crowd(swarm);
  const u32 lives = swarm.is_long ? 8 : 1;
  for (u32 life = 0; life < lives && live(swarm, crowd, trial, ops); ++life) {
  }
  failure = trial.failure();
  inputs = trial.inputs();
  digest = trial.digest();
}

std::optional<Failure> retell(const Story& story, const std::vector<Op>& ops, bool is_canary,
                              std::string* trace) {
  Trial trial(story.swarm, story.words, trace, is_canary);
  for (const Op& op : ops) {
    if (!trial.take(op)) return trial.failure();
  }
  if (trial.check_answered() && trial.check_rows() &&
      trial.model().client_count() + trial.model().token_count() + trial.model().flights().size() ==
          0)
    trial.check_memory();
  return trial.failure();
}

}  // namespace sidekick::sim
