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

Forward Forwards::take_waiting(u32 lane) {
  std::vector<Forward>& waiting = lanes_[lane].waiting;
  Forward forward = std::move(waiting.front());
  waiting.erase(waiting.begin());  // at most forwards_waiting_max, and rarely more than a few
  uncount(lane, forward);
  return forward;
}

ForwardId Forwards::start(u32 lane, Forward forward, Millis timeout_at) {
  const u32 slot = flights_.add();
  Flight& flight = flights_[slot];
  do {
    flight.id = ++last_id_;  // wraps after four billion forwards: skip 0 and ids in flight
  } while (flight.id == 0 || index_.find(hash(flight.id), [&](u32 other) {
    return flights_[other].id == flight.id;
  }) != none);
  count(lane, forward);
  flight.forward = std::move(forward);
  flight.lane = lane;
  flight.deadline = deadlines_.add({timeout_at, Due::forward_timeout, ++started_, slot});
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
