// The border of shard.wasm: translates between flat words and the calls of Shard. Makes no
// decisions.
#include "sidekick_shard_abi.h"

#include <span>
#include <string>
#include <vector>

#include "input_buffer.hpp"
#include "sidekick/shard.hpp"
#include "sidekick/text.hpp"

using namespace sidekick;
using engine::Shard;
using engine::ShardConfig;

struct sidekick_shard {
  Shard shard;
  // The words of the latest result point into these.
  std::vector<std::string> values;
  std::vector<Shard::Publication> publications;
  std::vector<Shard::Row> rows;
  std::vector<u32> words;
};

namespace {

// Owned by the instance: one instance, one thread.
InputBuffer buffer;

/// Reads words, then the bytes behind them.
class Reader {
 public:
  explicit Reader(u32 size) : bytes_(buffer.bytes(size)) {}

  u32 word() {
    SIDEKICK_CHECK(at_ + sizeof(u32) <= bytes_.size());
    const u32 word = *reinterpret_cast<const u32*>(bytes_.data() + at_);
    at_ += sizeof(u32);
    return word;
  }

  u64 long_word() {
    const u64 low = word();
    return low | u64{word()} << 32;
  }

  /// Texts of these lengths, which end the input.
  std::vector<Bytes> texts(u32 count) {
    SIDEKICK_CHECK(count <= bytes_.size() / sizeof(u32));
    std::vector<Bytes> texts(count);
    u64 begin = at_ + u64{count} * sizeof(u32);
    for (Bytes& text : texts) {
      const u32 length = word();
      SIDEKICK_CHECK(begin + length <= bytes_.size());
      text = Bytes(bytes_.data() + begin, length);
      begin += length;
    }
    SIDEKICK_CHECK(begin == bytes_.size());
    return texts;
  }

 private:
  Bytes bytes_;
  u64 at_ = 0;
};

class Writer {
 public:
  explicit Writer(std::vector<u32>& words) : words_(words) { words_.clear(); }

  void word(std::size_t word) { words_.push_back(static_cast<u32>(word)); }
  void long_word(u64 word) {
    this->word(static_cast<u32>(word));
    this->word(static_cast<u32>(word >> 32));
  }
  void text(Bytes text) {
    word(reinterpret_cast<std::uintptr_t>(text.data()));
    word(text.size());
  }

 private:
  std::vector<u32>& words_;
};

u32 status_of(bool is_done) { return is_done ? 0 : 1; }

/// Performs the call and returns its status.
u32 perform(sidekick_shard& it, u32 call, u64 now_us, std::span<const Bytes> texts) {
  const auto needs = [&](std::size_t count_min) { SIDEKICK_CHECK(texts.size() >= count_min); };
  switch (static_cast<sidekick_shard_call>(call)) {
    case SIDEKICK_SHARD_RUN: {
      needs(1);
      Shard::Answer answer = it.shard.run(now_us, texts[0], texts.subspan(1));
      it.values = std::move(answer.values);
      return answer.status;
    }
    case SIDEKICK_SHARD_ATTACH:
      needs(1);
      it.shard.attach(texts[0]);
      return 0;
    case SIDEKICK_SHARD_DETACH:
      needs(1);
      it.shard.detach(texts[0]);
      return 0;
    case SIDEKICK_SHARD_JOIN:
      needs(1);
      return status_of(it.shard.join(texts[0], texts.subspan(1)));
    case SIDEKICK_SHARD_LEAVE:
      needs(1);
      return status_of(it.shard.leave(texts[0], texts.subspan(1)));
    case SIDEKICK_SHARD_REPLACE_JOINS:
      needs(1);
      return status_of(it.shard.replace_joins(texts[0], texts.subspan(1)));
    case SIDEKICK_SHARD_TICK:
      it.shard.tick(now_us);
      return 0;
    case SIDEKICK_SHARD_RESTORE:
      needs(2);
      return status_of(it.shard.restore(texts[0], texts[1]));
    case SIDEKICK_SHARD_RESTORED:
      it.shard.restored(now_us);
      return 0;
    case SIDEKICK_SHARD_HOLDS:
      for (Shard::Hold& hold : it.shard.holds()) {
        for (std::string* const text : {&hold.token, &hold.node, &hold.session})
          it.values.push_back(std::move(*text));
        it.values.emplace_back(Digits(hold.expires_at));
      }
      return 0;
    case SIDEKICK_SHARD_JOINED:
      needs(1);
      it.values = it.shard.joined(texts[0]);
      return status_of(it.shard.is_attached(texts[0]));
  }
  trap();
}

}  // namespace

uint32_t sidekick_shard_abi_version() { return SIDEKICK_SHARD_ABI_VERSION; }

uint8_t* sidekick_shard_buffer(uint32_t size) { return buffer.reserve(size); }

sidekick_shard* sidekick_shard_create(uint32_t size) {
  Reader in(size);
  SIDEKICK_CHECK(in.word() == SIDEKICK_SHARD_ABI_VERSION);
  SIDEKICK_CHECK(in.long_word() == 0);
  ShardConfig config{.hash_seed = in.long_word()};
  const u64 bytes_max = in.long_word(), run_bytes_max = in.long_word();
  if (bytes_max != 0) config.bytes_max = bytes_max;
  if (run_bytes_max != 0) config.run_bytes_max = run_bytes_max;
  const std::vector<Bytes> texts = in.texts(2);
  config.epoch = texts[1];
  return new sidekick_shard{Shard(texts[0], config), {}, {}, {}, {}};
}

void sidekick_shard_destroy(sidekick_shard* shard) { delete shard; }

const uint32_t* sidekick_shard_handle(sidekick_shard* shard, uint32_t size) {
  Reader in(size);
  const u32 call = in.word();
  const u64 now_us = in.long_word();
  SIDEKICK_CHECK(now_us <= number_max);
  const std::vector<Bytes> texts = in.texts(in.word());
  sidekick_shard& it = *shard;
  it.values.clear();
  const u32 status = perform(it, call, now_us, texts);
  it.publications = it.shard.take_publications();
  it.rows = it.shard.take_rows();

  Writer out(it.words);
  out.word(status);
  out.long_word(it.shard.alarm_at());
  out.long_word(it.shard.stored_bytes());
  out.word(it.values.size());
  for (const std::string& value : it.values) out.text(value);
  out.word(it.publications.size());
  for (const Shard::Publication& publication : it.publications) {
    out.word(publication.nodes.size());
    for (const std::string& node : publication.nodes) out.text(node);
    out.text(publication.topic);
    out.text(publication.body);
  }
  out.word(it.rows.size());
  for (const Shard::Row& row : it.rows) {
    out.text(row.key);
    out.word(row.value.has_value());
    out.text(row.value ? Bytes(*row.value) : Bytes());
  }
  return it.words.data();
}
