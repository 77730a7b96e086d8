#include "shrink.hpp"

#include <algorithm>

#include "drop_chunks.hpp"

namespace sidekick::sim {

namespace {

class Shrinker {
 public:
  Shrinker(const Story& story, bool is_canary) : story_(story), is_canary_(is_canary) {
    ops_.assign(
        story.ops.begin(),
        story.ops.begin() + std::min<std::size_t>(story.failure->step + 1, story.ops.size()));
  }

  std::vector<Op> run() {
    if (!attempt(ops_)) return ops_;  // found at the end of the story, which is not one of its ops
    drop_clients();
    while (drop_chunks(ops_, [this](std::vector<Op> ops) { attempt(std::move(ops)); })) {
    }
    simplify();
    return ops_;
  }

  u32 told = 0;

 private:
  static constexpr u32 told_max = 5000;

  /// Keeps the ops if they still fail with the same checker.
  bool attempt(std::vector<Op> ops) {
    if (told == told_max) return false;
    ++told;
    const std::optional<Failure> failure = retell(story_, ops, is_canary_);
    if (!failure || failure->checker != story_.failure->checker) return false;
    ops.resize(std::min<std::size_t>(ops.size(), failure->step + 1));
    ops_ = std::move(ops);
    return true;
  }

  void drop_clients() {
    for (u32 client = 0; client < story_.swarm.clients; ++client) {
      std::vector<Op> ops = ops_;
      std::erase_if(ops, [client](const Op& op) {
        const bool is_clients = op.kind == OpKind::open || op.kind == OpKind::close ||
                                op.kind == OpKind::frame || op.kind == OpKind::lag;
        return is_clients && op.client == client;
      });
      if (ops.size() < ops_.size()) attempt(std::move(ops));
    }
  }

  /// Reduces each op to its simplest form.
  void simplify() {
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      const auto with = [&](auto&& change) {
        if (i >= ops_.size()) return;
        std::vector<Op> ops = ops_;
        change(ops[i]);
        attempt(std::move(ops));
      };
      if (ops_[i].cut != no_cut) with([](Op& op) { op.cut = no_cut; });
      if (ops_[i].fail != no_cut) with([](Op& op) { op.fail = no_cut; });
      if (ops_[i].turn != 0) with([](Op& op) { op.turn = 0; });
      if (ops_[i].knock != Knock::asked) with([](Op& op) { op.knock = Knock::asked; });
      if (ops_[i].knock_flaws != 0) with([](Op& op) { op.knock_flaws = 0; });
      if (!ops_[i].is_text) with([](Op& op) { op.is_text = true; });
      if (ops_[i].flaw != Flaw::none) with([](Op& op) { op.flaw = Flaw::none; });
      if (ops_[i].session != no_one) with([](Op& op) { op.session = no_one; });
      if (ops_[i].has_since) with([](Op& op) { op.has_since = false; });
      if (ops_[i].is_repeat) with([](Op& op) { op.is_repeat = false; });
      if (ops_[i].id != 0) with([](Op& op) { op.id = 0; });
      if (ops_[i].payload.shape != Shape::number)
        with([](Op& op) { op.payload.shape = Shape::number; });
      if (ops_[i].count > 1) with([](Op& op) { op.count = 1; });
      if (i > 0 && ops_[i].now != ops_[i - 1].now) with([&](Op& op) { op.now = ops_[i - 1].now; });
    }
  }

  const Story& story_;
  const bool is_canary_;
  std::vector<Op> ops_;
};

}  // namespace

std::vector<Op> shrink(const Story& story, bool is_canary, u32& told) {
  Shrinker shrinker(story, is_canary);
  std::vector<Op> ops = shrinker.run();
  told = shrinker.told;
  return ops;
}

}  // namespace sidekick::sim
