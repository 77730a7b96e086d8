// Values by name, each with an optional time at which it expires: what Redis calls keys.
#pragma once

#include <string>

#include "base/deadlines.hpp"
#include "base/hash_index.hpp"

namespace sidekick::engine {

template <class T>
class Keys {
 public:
  struct Key {
    bool is_used = false;
    std::string name;
    T value;
    u64 bytes = 0;
    u32 deadline = none;
  };

  explicit Keys(u64 hash_seed) : hash_seed_(hash_seed) {}

  /// Returns the key's id, or `none`.
  u32 find(Bytes name) const {
    return index_.find(hash(name), [&](u32 id) { return keys_[id].name == name; });
  }

  /// Returns the key's id, creating it if needed.
  u32 intern(Bytes name) {
    const u32 found = find(name);
    if (found != none) return found;
    const u32 id = keys_.add();
    keys_[id].is_used = true;
    keys_[id].name.assign(name);
    index_.add(hash(name), id);
    return id;
  }

  void remove(u32 id) {
    set_bytes(id, 0);
    persist(id);
    index_.remove(hash(keys_[id].name), id);
    keys_.remove(id);
  }

  T& operator[](u32 id) { return keys_[id].value; }
  const T& operator[](u32 id) const { return keys_[id].value; }

  /// The key exists up to this time.
  void expire_at(u32 id, Millis at) {
    persist(id);
    keys_[id].deadline = deadlines_.add({.at = at, .owner = id});
  }

  /// The key does not expire.
  void persist(u32 id) {
    if (keys_[id].deadline != none) deadlines_.remove(keys_[id].deadline);
    keys_[id].deadline = none;
  }

  /// Up to when the key exists; 0: it does not expire.
  Millis expires_at(u32 id) const {
    return keys_[id].deadline == none ? 0 : deadlines_.entry(keys_[id].deadline).at;
  }

  /// When the next key expires, or 0.
  Millis soonest() const { return deadlines_.empty() ? 0 : deadlines_.soonest().at; }

  /// Returns a key that has expired, or `none`.
  u32 find_expired(Millis now) const {
    return deadlines_.empty() || deadlines_.soonest().at >= now ? none : deadlines_.soonest().owner;
  }

  /// Sets the share of this key in bytes().
  void set_bytes(u32 id, u64 bytes) {
    bytes_ += bytes - keys_[id].bytes;
    keys_[id].bytes = bytes;
  }
  u64 bytes() const { return bytes_; }

  const std::vector<Key>& slots() const { return keys_.slots(); }

 private:
  u64 hash(Bytes name) const { return hash_bytes(hash_seed_, name); }

  u64 hash_seed_;
  Pool<Key> keys_;
  HashIndex index_;
  Deadlines deadlines_;
  u64 bytes_ = 0;
};

}  // namespace sidekick::engine
