// Open clients: the tokens each holds, the resources it listens to, and the session of those that
// said hello.
#pragma once

#include <string>
#include <vector>

#include "base/hash_index.hpp"
#include "tables/tokens.hpp"

namespace sidekick {

using ClientSlot = u32;

struct Client {
  ClientId id = 0;
  u64 serial =
      0;  ///< never reused, unlike `id`: a late answer must not reach the next client with that id
  std::vector<TokenId> tokens;     ///< in the order taken
  std::vector<TopicId> resources;  ///< in the order listened to
  u32 resource_bytes = 0;
  u32 parked = none;     ///< its frames that wait for the engine
  std::string session;   ///< of its hello; empty: it has not said hello
  u64 session_hash = 1;  ///< of another session almost never the same; 1: it has not said hello

  // The size of the host's record of this client, and the size of its last full version: see
  // emit_attach.
  u32 record_bytes = 0;
  u32 record_whole_bytes = 0;

  // A token bucket of frames, in thousandths of a frame.
  u64 frame_credit = 0;
  Millis credited_at = 0;
};

class Clients {
 public:
  explicit Clients(u64 hash_seed) : hash_seed_(hash_seed) {}

  ClientSlot find(ClientId id) const {
    return index_.find(hash(id), [&](u32 slot) { return clients_[slot].id == id; });
  }

  /// `id` must not be open.
  ClientSlot open(ClientId id) {
    SIDEKICK_CHECK(find(id) == none);
    const ClientSlot slot = clients_.add();
    clients_[slot].id = id;
    clients_[slot].serial = ++last_serial_;
    index_.add(hash(id), slot);
    return slot;
  }

  /// The client has said hello.
  void greet(ClientSlot slot, Bytes session) {
    clients_[slot].session.assign(session);
    clients_[slot].session_hash = hash(session) | 2;
    sessions_.add(hash(session), slot);
    ++session_count_;
  }

  ClientSlot find_session(Bytes session) const {
    return sessions_.find(hash(session),
                          [&](u32 slot) { return clients_[slot].session == session; });
  }

  void close(ClientSlot slot) {
    if (has_session(slot)) {
      sessions_.remove(hash(Bytes(clients_[slot].session)), slot);
      --session_count_;
    }
    index_.remove(hash(clients_[slot].id), slot);
    clients_.remove(slot);
  }

  /// Returns whether the client that had this slot and serial is still open.
  bool is_open(ClientSlot slot, u64 serial) const { return clients_[slot].serial == serial; }

  bool has_session(ClientSlot slot) const { return !clients_[slot].session.empty(); }
  Client& operator[](ClientSlot slot) { return clients_[slot]; }
  const Client& operator[](ClientSlot slot) const { return clients_[slot]; }
  u32 count() const { return clients_.size(); }
  u32 session_count() const { return session_count_; }
  /// Slots without a serial are unused.
  const std::vector<Client>& slots() const { return clients_.slots(); }

 private:
  u64 hash(ClientId id) const { return hash_number(hash_seed_, id); }
  u64 hash(Bytes session) const { return hash_bytes(hash_seed_, session); }

  u64 hash_seed_;
  u64 last_serial_ = 0;
  Pool<Client> clients_;
  HashIndex index_;
  HashIndex sessions_;
  u32 session_count_ = 0;
};

}  // namespace sidekick
