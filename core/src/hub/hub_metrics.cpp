// GET /metrics in the text format of Prometheus, version 0.0.4: the counters, and gauges that are
// read from the tables when it is asked. Changes nothing.
#include <algorithm>

#include "hub/state.hpp"

namespace sidekick {

namespace {

/// What the text has of each family and, in the lines after it, of each series.
constexpr char layout[] =
#define SIDEKICK_FAMILY(type, name, meaning) "#" #type " " #name " " meaning "\n"
#define SIDEKICK_VALUE(slot) "\n"
#define SIDEKICK_SERIES(slot, label, value) "{" #label "=\"" #value "\"}\n"
#define SIDEKICK_BUCKET(slot, seconds) "_bucket{le=\"" #seconds "\"}\n"
#define SIDEKICK_SUM(slot) "_sum\n"
#define SIDEKICK_COUNT(slot) "_count\n"
#include "sidekick/metrics.def"
    ;

/// In seconds: longer than the time of the hub can jump ahead.
constexpr double Inf = 1e16;
constexpr u64 bucket_ms[] = {
#define SIDEKICK_BUCKET(slot, seconds) static_cast<u64>((seconds) * 1000 + 0.5),
#include "sidekick/metrics.def"
};

static_assert(static_cast<u32>(Metric::engine_calls_hand_over) -
                  static_cast<u32>(Metric::engine_calls_sync) ==
              static_cast<u32>(Purpose::hand_over));

/// Takes the part up to the separator off `rest`, which must have one.
Bytes take_until(Bytes& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const Bytes part = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return part;
}

}  // namespace

void Metrics::count_refusal(const action::Respond& it) {
  static constexpr u32 statuses[] = {400, 401, 403, 404, 405, 409, 413, 426, 503};
  static_assert(static_cast<u32>(Metric::responses_503) - static_cast<u32>(Metric::responses_400) ==
                std::size(statuses) - 1);
  const auto found = std::find(std::begin(statuses), std::end(statuses), it.status);
  SIDEKICK_CHECK(found != std::end(statuses));
  ++at(Metric::responses_400, static_cast<u32>(found - std::begin(statuses)));
  count_error(it.code);
}

void Metrics::count_forward(const input::ForwardDone& in, u64 took_ms) {
  const auto bound = std::find_if(std::begin(bucket_ms), std::end(bucket_ms),
                                  [=](u64 ms) { return took_ms <= ms; });
  ++at(Metric::forward_0, static_cast<u32>(bound - std::begin(bucket_ms)));
  (*this)[Metric::forward_sum] += took_ms;
  const Metric outcome = [&] {
    switch (static_cast<Outcome>(in.outcome)) {
      case Outcome::answered:
        return is_success(in) ? Metric::forwards_done : Metric::forwards_rejected;
      case Outcome::unreachable:
        return Metric::forwards_unreachable;
      case Outcome::no_app_server:
        return Metric::forwards_no_app_server;
      case Outcome::timed_out:
        return Metric::forwards_timed_out;
      case Outcome::broken_off:
      default:
        return Metric::forwards_broken_off;
    }
  }();
  ++(*this)[outcome];
}

/// Writes the gauges, and what follows from other counters.
Metrics Hub::State::measured() const {
  Metrics all = metrics;
  const auto set = [&all](Metric metric, u64 value) { all[metric] = value; };
  set(Metric::build_info, 1);
  set(Metric::ready, is_ready());
  set(Metric::clients_with_hello, clients.session_count());
  set(Metric::clients_without_hello, clients.count() - clients.session_count());
  set(Metric::clients_max, config.clients_max);
  for (const Token& token : tokens.slots()) {
    if (token.state() == TokenState::gone) continue;
    ++all[token.state() == TokenState::free         ? Metric::tokens_free
          : token.state() == TokenState::subscribed ? Metric::tokens_subscribed
                                                    : Metric::tokens_held];
  }
  set(Metric::tokens_max, config.tokens_max);
  for (const Topics::Topic& topic : topics.slots()) {
    if (topic.name.empty()) continue;
    const u32 kind = is_resource(topic.name) ? 1 : 0;
    ++all.at(Metric::topics_channel, kind);
    all.at(Metric::subscriptions_channel, kind) +=
        topic.subscribers.size() + topic.hello_subscribers.size();
  }
  set(Metric::forwards_in_flight, forwards.in_flight_count());
  for (const Forwards::Lane& lane : forwards.lane_slots())
    all[Metric::forwards_waiting] += lane.waiting.size();
  for (u32 i = 1; i < std::size(bucket_ms); ++i)
    all.at(Metric::forward_0, i) += all.at(Metric::forward_0, i - 1);
  set(Metric::forward_count, all[Metric::forward_10]);
  set(Metric::tokens_bytes, tokens.store_bytes());
  set(Metric::topics_bytes, topics.store_bytes());
  set(Metric::forwards_bytes, forwards.store_bytes());
  set(Metric::changes_bytes, changes.bytes());
  set(Metric::history_bytes, history.bytes());
  set(Metric::parked_bytes, parking.store_bytes());
  set(Metric::tokens_bytes_max, config.token_store_bytes_max);
  set(Metric::topics_bytes_max, config.topic_store_bytes_max);
  set(Metric::forwards_bytes_max, config.forward_store_bytes_max);
  set(Metric::changes_bytes_max, config.change_log_bytes_max);
  set(Metric::history_bytes_max, config.history_bytes_max);
  set(Metric::parked_bytes_max, config.parked_store_bytes_max);
  for (const Shard& shard : engine.shards())
    ++all[shard.is_ready() ? Metric::engine_shards_up : Metric::engine_shards_down];
  set(Metric::engine_calls_pending, engine.call_count());
  return all;
}

void Hub::append_metrics(std::string& out) const { state_->append_metrics(out); }

void Hub::State::append_metrics(std::string& out) const {
  const Metrics all = measured();
  Bytes family;
  u32 slot = 0;
  for (Bytes rest = layout; !rest.empty();) {
    Bytes line = take_until(rest, '\n');
    if (line.starts_with('#')) {
      const Bytes type = take_until(line, ' ').substr(1);
      family = take_until(line, ' ');
      append_form(out, "# HELP sidekick_% %\n# TYPE sidekick_% %\n", family, line, family, type);
      continue;
    }
    const Metric metric = static_cast<Metric>(slot);
    const u64 value = all.value(slot++);
    if (metric == Metric::error_ok) continue;
    if (metric == Metric::build_info) {
      append_form(out, "sidekick_%{version=\"%\"} %\n", family, core_version, value);
    } else if (metric == Metric::forward_sum) {
      append_form(out, "sidekick_%% %.%\n", family, line, value / 1000,
                  Bytes(Digits(1000 + value % 1000)).substr(1));
    } else {
      append_form(out, "sidekick_%% %\n", family, line, value);
    }
  }
}

}  // namespace sidekick
