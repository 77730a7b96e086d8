// Frames and requests that wait for the engine. A client has one queue: its later frames wait
// behind the first. A request is alone.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hub/admission.hpp"
#include "tables/clients.hpp"
#include "tables/engine.hpp"

namespace sidekick {

/// The results of the answers so far for the first frame of a queue. The frame itself runs again
/// from its beginning and looks here.
struct Findings {
  enum class Refused : u8 { no, engine_full, engine_error, tokens_max, token_store };
  Refused refused = Refused::no;  ///< why it cannot be done
  bool is_sent = false;           ///< its calls were emitted
  bool is_cut = false;            ///< one got no answer: the engine may have performed it

  enum class Claim : u8 { unasked, absent, held };
  Claim claim = Claim::unasked;  ///< why the token is not this client's
  u32 claims = 0;                ///< refused so far
  Millis retry_at = 0;
  std::string claimed;        ///< a token that the engine gave to this client
  bool is_claim_cut = false;  ///< the claim got no answer: the engine may have given it
  bool is_erased = false;

  /// The changes that a shard knows of the resources of a listen.
  struct Changes {
    u64 at = 0;               ///< the position of its answer
    std::vector<u32> places;  ///< of the changed ones among those of this shard, ascending
  };
  bool is_asked = false;         ///< of a listen: whether the members below are set
  bool is_all_changed = false;   ///< it is not known what has changed
  std::vector<Changes> changes;  ///< by shard

  bool is_recovered = false;  ///< of a subscribe: the missed messages are known
  bool is_lost = false;       ///< of a subscribe: the missed messages are lost
  u64 at = 0;                 ///< the position of the answer
  std::vector<Interest::Message> missed;
};

struct Parked {
  struct Text {
    Millis at = 0;  ///< when it came
    std::string bytes;
  };

  u64 serial = 0;            ///< never reused; 0: this slot is unused
  ClientSlot client = none;  ///< none: a request
  RequestId request = 0;
  Route route = Route::unknown;  ///< of a request
  std::vector<Text> texts;       ///< oldest first
  std::size_t first = 0;         ///< index of the first text that waits; the running one does not
  u64 bytes = 0;                 ///< of the texts that wait, as counted by cost_of

  std::span<const Text> waiting() const { return std::span(texts).subspan(first); }

  // Of the first text:
  u32 calls = 0;               ///< that it waits for
  std::vector<u32> interests;  ///< that it needs joined: none of them is left meanwhile
  u32 deadline = none;         ///< while it waits for a shard to come back
  Findings findings;
};

class Parking {
 public:
  /// Of a client, or of a request.
  u32 add(ClientSlot client, RequestId request, Route route);
  void append(u32 id, Parked::Text text);
  /// Takes the first text, to run again; put it back with put_back if it has to wait on.
  Parked::Text take(u32 id);
  void put_back(u32 id, Parked::Text text);
  void remove(u32 id);

  Parked& operator[](u32 id) { return parked_[id]; }
  bool has(const Waiter& waiter) const { return parked_[waiter.parked].serial == waiter.serial; }
  const std::vector<Parked>& slots() const { return parked_.slots(); }
  bool empty() const { return parked_.size() == 0; }

  /// All that wait for no call, in the order in which they began to wait.
  std::vector<Waiter> blocked() const;

  /// The quantity that parked_store_bytes_max limits.
  u64 store_bytes() const { return store_bytes_; }
  static u64 cost_of(Bytes text) { return text.size() + 128; }

 private:
  Pool<Parked> parked_;
  u64 last_serial_ = 0;
  u64 store_bytes_ = 0;
};

}  // namespace sidekick
