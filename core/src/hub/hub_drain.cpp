// Draining: new sockets are refused, and the open ones close little by little until the host stops,
// so that their clients do not all reconnect at the same time.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

void Hub::State::on_draining(const input::Draining& in, Actions& out) {
  const Millis from = now + in.ms / drain_quiet_parts;
  drain = {true, clients.count(), from, now + in.ms, drain.slice};
  on_drain_slice(out);
}

/// Closes as many clients as are due by now: those without a message under way first, then by their
/// ids.
void Hub::State::on_drain_slice(Actions& out) {
  constexpr Millis slice_ms = 100;
  if (drain.slice != none) deadlines.remove(drain.slice);
  drain.slice = none;
  const u64 left_ms = drain.until - std::clamp(now, drain.from, drain.until);
  const u64 kept = left_ms == 0 ? 0 : drain.clients * left_ms / (drain.until - drain.from);
  if (clients.count() > kept) {
    std::vector<std::pair<bool, ClientId>> order;
    for (const Client& client : clients.slots()) {
      if (client.serial != 0) order.emplace_back(is_busy(client), client.id);
    }
    const auto end = order.end() - static_cast<std::ptrdiff_t>(kept);
    std::partial_sort(order.begin(), end, order.end());
    for (auto next = order.begin(); next != end; ++next)
      emit_drained(clients.find(next->second), out);
  }
  if (clients.count() == 0) return;
  const Millis at = std::min(std::max(now, drain.from) + slice_ms, drain.until);
  drain.slice = deadlines.add({at, Due::drain_slice, 0, none});
}

void Hub::State::emit_drained(ClientSlot slot, Actions& out) {
  emit_close(slot, 4001, ErrorCode::stopping, "this Sidekick is shutting down; connect again", out);
}

/// Whether a message of one of its tokens is under way to the app server.
bool Hub::State::is_busy(const Client& client) const {
  return std::any_of(client.tokens.begin(), client.tokens.end(),
                     [this](TokenId id) { return tokens[id].lane != none; });
}

}  // namespace sidekick
