// Fills what the core keeps for clients that come back, the change log and the history of channels,
// to its limit and beyond, so that its memory can be measured: natively by core_bench.cpp, in WASM
// by core_bench_wasm.cpp. Without clients that say hello, the same inputs leave nothing behind: the
// difference is what the limit bounds.
#pragma once

#include <algorithm>

#include "core_work.hpp"

namespace core_memory {

using namespace sidekick;

enum class Kind : u32 { change_log, history };

class Fill : public core_work::Work {
 public:
  /// `bytes`: about the size of a resource's name, or of a message as it is sent.
  Fill(Kind kind, u32 bytes, bool says_hello) : kind_(kind), bytes_(bytes) {
    if (kind == Kind::change_log) {
      open(0, says_hello);
      return;
    }
    for (u32 room = 0; room < room_count(); ++room) {
      const u32 client = room / hub.config().tokens_per_client_max;
      if (room % hub.config().tokens_per_client_max == 0) open(client, says_hello);
      post("/connection", "{ \"token\": \"" + token(room) + "\", " + scope(room) + " }");
      frame(client, "{ \"type\": \"subscribe\", \"token\": \"" + token(room) + "\" }");
    }
  }

  void run(u32, u32) override { fill(); }

  /// Adds as much as the limit allows, and a quarter more.
  void fill() {
    const bool is_log = kind_ == Kind::change_log;
    const u32 limit = is_log ? hub.config().change_log_bytes_max : hub.config().history_bytes_max;
    const u32 count = limit / (bytes_ + (is_log ? 64 : 96)) / 4 * 5;
    for (const u32 end = next_ + count; next_ < end; ++next_) {
      if (is_log) {
        post("/resources", "{ \"resources\": [\"" + varied() + "\"] }");
      } else {
        post("/message", "{ " + scope(next_ % room_count()) + ", \"data\": \"" + varied() + "\" }");
      }
    }
  }

 private:
  /// So many that no channel reaches history_messages_max.
  u32 room_count() const {
    return hub.config().history_bytes_max / (bytes_ + 96) * 2 / hub.config().history_messages_max;
  }
  static std::string scope(u32 room) {
    return R"("channel": "chat", "params": { "room": ")" + std::to_string(room) + "\" }";
  }
  /// Sizes vary by a quarter up and down, since the heap must not get off lightly.
  std::string varied() const {
    constexpr u32 overhead = 94;  // of a message around its data
    const u32 size = bytes_ - bytes_ / 4 + next_ * 7919 % (bytes_ / 2 + 1);
    const std::string name = std::to_string(next_) + "/";
    const u32 rest = kind_ == Kind::change_log ? size : std::max(size, overhead) - overhead;
    return name + std::string(std::max<std::size_t>(rest, name.size()) - name.size(), 'x');
  }

  Kind kind_;
  u32 bytes_;
  u32 next_ = 0;
};

}  // namespace core_memory
