// One number for the whole state of a hub, to compare hosts, builds and restores cheaply. Each
// object is hashed by its content, never by its slot, and the hashes are added up, so that neither
// order nor history matters.
#include "hub/state.hpp"

namespace sidekick {

namespace {

/// The hash of one object: its parts in sequence, each text by its own hash, so that different
/// objects do not collide by concatenation.
class Fingerprint {
 public:
  explicit Fingerprint(u64 kind) : hash_(kind * odd) {}

  Fingerprint& operator<<(u64 number) {
    // Little more than a multiplication: there may be millions of subscriptions.
    hash_ = (hash_ ^ number) * odd;  // large from the start, so that no small number makes it 0
    hash_ ^= hash_ >> 29;
    return *this;
  }
  Fingerprint& operator<<(Bytes bytes) { return *this << hash_bytes(0, bytes); }

  u64 hash() const { return hash_; }

 private:
  static constexpr u64 odd = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio

  u64 hash_;
};

enum Kind : u64 {
  token_kind = 1,
  client_kind,
  topic_kind,
  lane_kind,
  flight_kind,
  shard_kind,
  interest_kind,
  parked_kind,
  drain_kind
};

}  // namespace

u64 Hub::State::hash() const {
  std::vector<u64> names;  // indexed by topic
  for (const Topics::Topic& topic : topics.slots()) names.push_back(hash_bytes(0, topic.name));
  const auto sender_of = [this](const Forward& forward) -> u64 {
    return clients.is_open(forward.sender.slot, forward.sender.serial)
               ? clients[forward.sender.slot].id
               : u64{none};
  };

  u64 sum = (is_shutting_down ? 1 : 0) + (drain.is_on ? 2 : 0);
  if (drain.slice != none) {
    Fingerprint print(drain_kind);
    print << drain.clients << drain.from << drain.until << deadlines.entry(drain.slice).at;
    sum += print.hash();
  }
  for (const Token& token : tokens.slots()) {
    if (token.key().empty()) continue;
    Fingerprint print(token_kind);
    print << token.key() << token.channel() << token.params() << token.context()
          << (is_held(token.state()) ? stored_state(token.state()) : u64{0}) << token.expires_at();
    print << (is_held(token.state()) ? clients[token.holder()].id : stored_state(token.state()));
    sum += print.hash();
  }
  for (const Client& client : clients.slots()) {
    if (client.serial == 0) continue;
    Fingerprint print(client_kind);
    print << client.id << client.tokens.size();
    for (const TokenId token : client.tokens) print << tokens[token].key();
    for (const TopicId resource : client.resources) print << names[resource];
    if (!client.session.empty()) print << Bytes(client.session);
    sum += print.hash();
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Topics::Topic& topic = topics.slots()[i];
    if (topic.name.empty()) continue;
    Fingerprint print(topic_kind);
    print << names[i];
    for (const u32 client : topic.subscribers) print << client;
    for (const u32 client : topic.hello_subscribers) print << client;
    sum += print.hash();
  }
  for (const Forwards::Lane& lane : forwards.lane_slots()) {
    if (lane.is_done() && lane.token == none) continue;
    Fingerprint print(lane_kind);
    print << (lane.token == none ? Bytes() : tokens[lane.token].key()) << lane.in_flight;
    constexpr std::size_t hashed_bytes_max = 1024;
    for (const Forward& waiting : lane.waiting)
      print << sender_of(waiting) << waiting.body.size()
            << Bytes(waiting.body).substr(0, hashed_bytes_max);
    sum += print.hash();
  }
  for (const Forwards::Flight& flight : forwards.flight_slots()) {
    if (flight.id == 0) continue;
    Fingerprint print(flight_kind);
    print << sender_of(flight.forward) << Bytes(flight.forward.scope) << flight.forward.body_bytes
          << deadlines.entry(flight.deadline).at;
    sum += print.hash();
  }
  for (const Shard& shard : engine.shards()) {
    Fingerprint print(shard_kind);
    print << Bytes(shard.epoch) << Bytes(shard.server) << shard.top << shard.position
          << (shard.is_up ? 1 : 0) << (shard.is_synced ? 1 : 0) << (shard.is_resyncing ? 1 : 0);
    sum += print.hash();
  }
  for (const Interest& interest : engine.interests()) {
    if (interest.topic == none) continue;
    Fingerprint print(interest_kind);
    print << names[interest.topic] << static_cast<u64>(interest.state) << interest.received;
    sum += print.hash();
  }
  for (const Parked& parked : parking.slots()) {
    if (parked.serial == 0) continue;
    Fingerprint print(parked_kind);
    print << (parked.client == none ? u64{none} : clients[parked.client].id) << parked.calls;
    for (const Parked::Text& text : parked.waiting()) print << Bytes(text.bytes);
    sum += print.hash();
  }
  return sum;
}

}  // namespace sidekick
