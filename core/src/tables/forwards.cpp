#include "tables/forwards.hpp"

namespace sidekick {

u32 Forwards::open_lane(TokenId token) {
  const u32 lane = lanes_.add();
  lanes_[lane].token = token;
  return lane;
}

void Forwards::wait(u32 lane, Forward forward) {
  count(lane, forward);
  lanes_[lane].waiting.push_back(std::move(forward));
}

void Forwards::repeat(u32 lane, const Repeat& repeat) {
  std::vector<Repeat>& repeats = lanes_[lane].repeats;
  std::erase_if(repeats, [&](const Repeat& it) {
    return it.sends == repeat.sends && it.message_id == repeat.message_id;
  });
  repeats.push_back(repeat);
}

Sender Forwards::take_repeat(u32 lane, const Forward& forward) {
  Sender sender;
  std::erase_if(lanes_[lane].repeats, [&](const Repeat& it) {
    const bool is_it = it.sends == forward.sends && it.message_id == forward.message_id;
    if (is_it) sender = it.sender;
    return is_it;
  });
  return sender;
}

Forward Forwards::take_waiting(u32 lane) {
  std::vector<Forward>& waiting = lanes_[lane].waiting;
  Forward forward = std::move(waiting.front());
  waiting.erase(waiting.begin());  // at most forwards_waiting_max, and rarely more than a few
  uncount(lane, forward);
  return forward;
}

void Forwards::begin(u64 epoch) { last_id_ = epoch; }

ForwardId Forwards::start(u32 lane, Forward forward, Millis now, u32 timeout_ms) {
  const u32 slot = flights_.add();
  Flight& flight = flights_[slot];
  // Wraps after 2^53: never 0, and no id that is still in flight comes up again by then.
  last_id_ = last_id_ < number_max ? last_id_ + 1 : 1;
  flight.id = last_id_;
  count(lane, forward);
  flight.forward = std::move(forward);
  flight.lane = lane;
  flight.started_at = now;
  flight.deadline = deadlines_.add({now + timeout_ms, Due::forward_timeout, ++started_, slot});
  index_.add(hash(flight.id), slot);
  ++lanes_[lane].in_flight;
  return flight.id;
}

Forwards::Flight Forwards::finish(ForwardId id) {
  const u32 slot = index_.find(hash(id), [&](u32 other) { return flights_[other].id == id; });
  return slot == none ? Flight{} : finish_slot(slot);
}

Forwards::Flight Forwards::finish_slot(u32 slot) {
  Flight flight = std::move(flights_[slot]);
  index_.remove(hash(flight.id), slot);
  deadlines_.remove(flight.deadline);
  flights_.remove(slot);
  --lanes_[flight.lane].in_flight;
  uncount(flight.lane, flight.forward);
  return flight;
}

void Forwards::count(u32 lane, const Forward& forward) {
  store_bytes_ += cost_of(forward);
  lanes_[lane].bytes += cost_of(forward);
}

void Forwards::uncount(u32 lane, const Forward& forward) {
  store_bytes_ -= cost_of(forward);
  lanes_[lane].bytes -= cost_of(forward);
}

}  // namespace sidekick
