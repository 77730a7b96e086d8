// A hub with everything a test needs around it: a clock, the rows a host would store, and texts in
// and out. Each method passes one input and returns its actions, one per line:
//
//   put_token t1 { ... }      attach 1 { ... }      send 1 2 { ... }            set_timer +300000
//   erase_token t1            close 1 1013 why      respond 200 OK              forward 1 { ... }
//
// An error has its code in brackets. A respond shows extras such as `(after 3000 ms)` only if there
// are any, and its request only if that is not the latest. The forwards of the second hub count
// from 1001, those of the third from 2001. Bytes that are not printable UTF-8 are written as \xNN.
#pragma once

#include <map>
#include <set>
#include <string>

#include "sidekick/trace.hpp"

namespace sidekick::test {

inline constexpr Millis start_ms = 1'700'000'000'000;
inline constexpr Bytes secret = "the-secret";
inline constexpr Bytes bearer = "Bearer the-secret";

/// A token's row, as a host stores it.
struct TokenRow {
  u32 state = 0;
  Millis expires_at = 0;
  std::string record;

  bool operator==(const TokenRow&) const = default;
};

class Scenario {
 public:
  /// `settings`: members of the configuration, such as `"token_ttl_ms": 5, "params_max": 2`.
  /// Invalid ones end the test run.
  explicit Scenario(Bytes settings = "");

  std::string open(ClientId client);
  std::string frame(ClientId client, Bytes bytes, bool is_text = true);
  std::string close(ClientId client);
  std::string lag(ClientId client, u32 buffered_bytes);
  std::string post(Bytes path, Bytes body, Bytes authorization = bearer);
  std::string request(Bytes method, Bytes path, Bytes authorization = "", Bytes body = "",
                      u32 body_bytes = 0, Bytes headers = "");
  /// The verdict, such as `body 8388608` or `socket chat`.
  std::string admit(const input::HttpRequest& request);
  /// The series of GET /metrics whose values are not those of the last call; of a new hub, for the
  /// first one. Without the prefix `sidekick_`.
  std::string metrics();
  std::string forward_done(ForwardId forward, u32 status, Bytes body = "",
                           Outcome outcome = Outcome::answered);
  /// The durable actions of the latest input of this client failed; 0: of the latest request.
  std::string not_stored(ClientId client, Bytes key = "");
  std::string timer();
  void after(Millis span_ms) { now_ += span_ms; }
  void set_now(Millis now) { now_ = now; }

  /// A new hub from the stored rows, as after a wake. `lost`: clients whose sockets did not
  /// survive. `written`: rows that were changed meanwhile, by token or `client <id>` (only its
  /// record counts).
  std::string restart(const std::set<ClientId>& lost = {},
                      const std::vector<std::pair<std::string, TokenRow>>& written = {});
  std::string restore_token(Bytes key, const TokenRow& row);
  std::string restore_client(ClientId client, Bytes record);

  std::string handle(const Input& input);

  Hub& hub() { return *hub_; }
  const Actions& actions() const { return actions_; }  ///< of the last input
  Millis now() const { return now_; }

  /// The rows of a host: tokens by key, and the record of every open client (possibly empty).
  const std::map<std::string, TokenRow>& token_rows() const { return token_rows_; }
  const std::map<ClientId, std::string>& client_rows() const { return client_rows_; }

  /// The trace of all hubs of this scenario, each with a hash at its end.
  std::string trace() const;

 private:
  void start_hub();
  std::string perform();
  void append_line(std::string& out, const Action& action);
  static void check_durable(const Action& action);
  std::string token_state(u32 state, Millis expires_at) const;

  Config config_;
  std::unique_ptr<Hub> hub_;
  Actions actions_;
  Millis now_ = start_ms;
  RequestId last_request_ = 0;
  u64 hubs_ = 0;
  std::map<std::string, TokenRow> token_rows_;
  std::map<ClientId, std::string> client_rows_;
  trace::Recording recording_;
  std::string trace_;
  std::set<std::string> seen_metrics_;
};

/// `text` on one line: control bytes and malformed UTF-8 as \xNN.
std::string printable(Bytes text);

/// A random number generator that is the same on every platform (splitmix64).
struct Random {
  u64 state;

  u64 next() {
    u64 z = (state += 0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  u32 below(u32 bound) { return static_cast<u32>(next() % bound); }
  bool one_in(u32 count) { return below(count) == 0; }
};

/// The seeds of a randomized test: the first `count`, or the one in the environment variable SEED.
std::pair<u64, u64> seed_range(u64 count);

std::string repeat(Bytes part, u64 count);

}  // namespace sidekick::test
