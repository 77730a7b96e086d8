// The state machine: one input in, all its consequences out. No clock, no randomness, no I/O, no
// threads, no globals.
#pragma once

#include <memory>
#include <string>

#include "sidekick/border.hpp"
#include "sidekick/config.hpp"

namespace sidekick {

/// The content type of the answer to GET /metrics.
#define SIDEKICK_METRICS_CONTENT_TYPE(type) inline constexpr Bytes metrics_content_type = type;
#include "sidekick/metrics.def"

/// How a host must handle a request: see the kinds in border.def.
struct Verdict {
  VerdictKind kind = VerdictKind::answer;
  u32 body_bytes_max = 0;  ///< of a `body`
  Bytes protocol;          ///< of a `socket`; within the request's headers, or empty
};

class Hub {
 public:
  /// `config` must come from decode_config, or respect limits.def and contain a secret.
  explicit Hub(Config config);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  /// Applies one input and replaces `out` with its consequences, in the order in which the host
  /// must perform them. `now`: milliseconds since the Unix epoch; a value earlier than the latest
  /// one counts as the latest one, and begins a new epoch of stamps if it is more than a second
  /// earlier. Views in `out` are valid until the next call on this hub. Never
  /// fails: a peer's mistake results in actions. Traps only if the host opens a client handle that
  /// is already open.
  void handle(Millis now, const Input& input, Actions& out);

  /// Says what to do with a request whose body was not read yet: `request` as it will be passed to
  /// handle, without its body; `body_bytes`: the declared size, or 0. `headers`: only of a request
  /// with an Upgrade header (in HTTP/1.0 there is none): its lines `name: value\n` in their order,
  /// those with the names of request_headers. Changes nothing.
  Verdict admit(const input::HttpRequest& request) const;

  /// Returns whether an Authorization header carries one of the secrets. For wrong values, the time
  /// depends only on their length.
  bool is_authorized(Bytes authorization) const;

  /// Appends the metrics of this hub in the text format of Prometheus: the answer to a request with
  /// the verdict `metrics`, before the families of the host. The values follow from the inputs, so
  /// every host and a replay give the same. Changes nothing. O(state): see state_size.
  void append_metrics(std::string& out) const;

  const Config& config() const;

  /// A hash over everything that influences the hub's behavior. Equal for hubs with equal state, on
  /// every host and build, with every hash seed, and after a restore. It excludes derived and
  /// host-specific state: clock and timer, rate-limit credits of clients, sizes of stored records,
  /// the next forward id, and the bodies of messages in flight; and what a restart loses: stamps,
  /// the change log, channel history, outcomes of messages. Of a queued message it covers the size
  /// and the first KiB. With an engine it also covers what a restart loses of that: shards, joined
  /// topics, and what waits. O(state): see state_size.
  u64 state_hash() const;

  /// Returns roughly the number of objects to hash: tokens, clients, subscriptions, messages.
  u64 state_size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sidekick
