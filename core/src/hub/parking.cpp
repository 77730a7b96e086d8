#include "hub/parking.hpp"

#include <algorithm>

namespace sidekick {

u32 Parking::add(ClientSlot client, RequestId request, Route route) {
  const u32 id = parked_.add();
  Parked& it = parked_[id];
  it.serial = ++last_serial_;
  it.client = client;
  it.request = request;
  it.route = route;
  return id;
}

void Parking::append(u32 id, Parked::Text text) {
  const u64 cost = cost_of(text.bytes);
  parked_[id].bytes += cost;
  store_bytes_ += cost;
  parked_[id].texts.push_back(std::move(text));
}

Parked::Text Parking::take(u32 id) {
  Parked& it = parked_[id];
  Parked::Text text = std::move(it.texts[it.first++]);
  if (it.first > it.texts.size() / 2) {
    it.texts.erase(it.texts.begin(), it.texts.begin() + static_cast<std::ptrdiff_t>(it.first));
    it.first = 0;
  }
  it.bytes -= cost_of(text.bytes);
  store_bytes_ -= cost_of(text.bytes);
  return text;
}

void Parking::put_back(u32 id, Parked::Text text) {
  const u64 cost = cost_of(text.bytes);
  Parked& it = parked_[id];
  it.bytes += cost;
  store_bytes_ += cost;
  if (it.first == 0) {
    it.texts.insert(it.texts.begin(), std::move(text));
  } else {
    it.texts[--it.first] = std::move(text);
  }
}

void Parking::remove(u32 id) {
  store_bytes_ -= parked_[id].bytes;
  parked_.remove(id);
}

std::vector<Waiter> Parking::blocked() const {
  std::vector<Waiter> blocked;
  for (u32 id = 0; id < parked_.slots().size(); ++id) {
    const Parked& it = parked_[id];
    if (it.serial != 0 && it.calls == 0) blocked.push_back({id, it.serial});
  }
  std::sort(blocked.begin(), blocked.end(),
            [](const Waiter& a, const Waiter& b) { return a.serial < b.serial; });
  return blocked;
}

}  // namespace sidekick
