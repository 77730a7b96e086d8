// A store that fails, from one action on and perhaps for a turn of several inputs, as in a host
// that commits at the end of a turn. The host withholds what depends on a durable action of the
// same input, and tells the hub: border.def, not_stored.
#include <algorithm>

#include "trial.hpp"

namespace sidekick::sim {

/// Returns whether the host has stored this action.
bool Trial::store(bool is_durable) {
  if (!is_performed()) return false;
  if (performed_ < fail_) return true;
  has_lost_ |= is_durable;
  return false;
}

bool Trial::store_row(u32 token, const Action& action, bool is_durable) {
  const bool is_stored = store(is_durable);
  const bool is_update = action.tag == ActionTag::touch_token;
  u8& stale = stale_rows_[token];
  if (is_stored) {
    if (!is_update || stale == 1) stale = 0;
    return true;
  }
  if (is_durable && !is_update && is_performed()) lost_token_ = static_cast<u16>(token);
  if (is_performed()) stale = is_update ? std::max<u8>(stale, 1) : 2;
  return false;
}

/// What the host passes later, for an input with a durable action that it could not store.
void Trial::note_writer(const Op& op) {
  if (op.fail != no_cut && !is_failing_) {
    is_failing_ = true;
    turn_left_ = op.turn;
  }
  if (!has_lost_) return;
  Op writer;
  writer.kind = OpKind::not_stored;
  writer.client = no_one;
  writer.token = lost_token_;
  if (op.kind == OpKind::http)
    writer.serial = request_;
  else
    writer.client = op.client;
  const bool is_known = std::any_of(writers_.begin(), writers_.end(), [&](const Op& other) {
    return other.client == writer.client && other.serial == writer.serial &&
           other.token == writer.token;
  });
  if (!is_known) writers_.push_back(writer);
}

bool Trial::end_turn(Millis now) {
  is_failing_ = false;
  const std::vector<Op> writers = std::move(writers_);
  writers_.clear();
  for (Op writer : writers) {
    writer.now = now;
    std::erase_if(open_requests_, [&](const OpenRequest& open) {
      return writer.serial != 0 && open.request == writer.serial;
    });
    if (!take_input(writer)) return false;
  }
  const std::vector<ForwardId> withheld = std::move(withheld_);
  withheld_.clear();
  for (const ForwardId id : withheld) {
    const auto flight = std::find_if(model_.flights().begin(), model_.flights().end(),
                                     [id](const Flight& it) { return it.id == id; });
    if (flight == model_.flights().end()) continue;  // it has timed out
    Op unreachable;
    unreachable.now = now;
    unreachable.kind = OpKind::answer;
    unreachable.reply = Reply::unreachable;
    unreachable.serial = flight->message.serial;
    if (!take_input(unreachable)) return false;
  }
  return true;
}

}  // namespace sidekick::sim
