// One number for all a hub knows, to compare hosts, builds and restores cheaply. Each thing it knows is hashed by what it is, never by the slot
// it stands in, and the hashes are added up: so neither the order nor the past shows.
#include "state.hpp"

namespace sidekick {

namespace {

/// Of one thing: its parts with their sizes, so that no two things are written alike.
class Fingerprint {
 public:
  explicit Fingerprint(const char* kind) : text_(kind) {}

  Fingerprint& operator<<(u64 number) {
    for (int shift = 0; shift < 64; shift += 8) text_ += static_cast<char>(number >> shift);
    return *this;
  }
  Fingerprint& operator<<(Bytes bytes) {
    *this << u64{bytes.size()};
    text_ += bytes;
    return *this;
  }

  u64 hash() const { return hash_bytes(0, text_); }

 private:
  std::string text_;
};

}  // namespace

u64 Hub::State::hash() const {
  u64 sum = is_shutting_down ? 1 : 0;
  for (const Token& token : tokens.slots()) {
    if (token.key().empty()) continue;
    Fingerprint print("token");
    print << token.key() << token.channel() << token.params() << token.context() << static_cast<u64>(token.state()) << token.expires_at();
    print << static_cast<u64>(token.restored_as);
    if (token.state() != TokenState::free) print << u64{clients[token.holder()].id};
    sum += print.hash();
  }
  for (const Client& client : clients.slots()) {
    if (client.serial == 0) continue;
    Fingerprint print("client");
    print << u64{client.id} << u64{client.tokens.size()};
    for (const TokenId token : client.tokens) print << tokens[token].key();
    for (const TopicId resource : client.resources) print << Bytes(topics.name(resource));
    sum += print.hash();
  }
  for (const Topics::Topic& topic : topics.slots()) {
    if (topic.name.empty()) continue;
    Fingerprint print("topic");
    print << Bytes(topic.name);
    for (const u32 client : topic.subscribers) print << u64{client};
    sum += print.hash();
  }
  for (const Forwards::Lane& lane : forwards.lane_slots()) {
    if (lane.is_done()) continue;
    Fingerprint print("lane");
    print << (lane.token == none ? Bytes() : tokens[lane.token].key()) << u64{lane.in_flight};
    for (const Forward& forward : lane.waiting) print << Bytes(forward.body);
    sum += print.hash();
  }
  for (const Forwards::Flight& flight : forwards.flight_slots()) {
    if (flight.id != 0) sum += (Fingerprint("flight") << Bytes(flight.forward.scope) << u64{flight.forward.body_bytes}).hash();
  }
  return sum;
}

}  // namespace sidekick
