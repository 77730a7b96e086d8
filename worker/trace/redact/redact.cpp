// redact: the same recording with stand-ins for everything that users and app servers said. The
// inputs are changed, and the core's actions recorded again, so the copy replays like any
// recording. Kept: numbers (clients, times, sizes), structure, lengths, the protocol's own names.
// Reports where this build answers differently from the recording, or the copy differently from the
// original.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <tuple>

#include "command.hpp"
#include "files.hpp"
#include "redact/engine_texts.hpp"
#include "redact/redacted.hpp"
#include "sidekick/held_input.hpp"
#include "sidekick/text.hpp"
#include "trace/core_hub.hpp"
#include "trace/format_1.hpp"
#include "trace/trace_line.hpp"
#include "trap_place.hpp"

namespace sidekick::trace {

namespace {

/// An answer without its texts: actions, number of receivers, lengths. Not the order: tokens that
/// expire together are ordered by hash.
using Outline = std::vector<std::tuple<ActionTag, u64, u64>>;

Outline outline_of(const Actions& actions) {
  Outline outline;
  for (const Action& action : actions) {
    u64 numbers = 0;
    u64 sizes = 0;
    for (const Field* field = find_action_shape(static_cast<u32>(action.tag))->fields;
         field->kind != FieldKind::end; ++field) {
      switch (field->kind) {
        case FieldKind::u32_word:
          numbers = numbers * 31 + field_at<u32>(fields_of(action), *field);
          break;
        case FieldKind::u64_word:
          numbers = numbers * 31 + field_at<u64>(fields_of(action), *field);
          break;
        case FieldKind::list:
          for (const Bytes bytes : field_at<std::span<const Bytes>>(fields_of(action), *field))
            sizes = sizes * 31 + bytes.size();
          break;
        case FieldKind::ids:
          for (const u32 id : field_at<std::span<const u32>>(fields_of(action), *field))
            numbers = numbers * 31 + id;
          break;
        case FieldKind::code:
          numbers = numbers * 31 + static_cast<u32>(field_at<ErrorCode>(fields_of(action), *field));
          break;
        case FieldKind::bytes:
          sizes = sizes * 31 + field_at<Bytes>(fields_of(action), *field).size();
          break;
        case FieldKind::end:
          trap();
      }
    }
    outline.emplace_back(action.tag, numbers, sizes);
  }
  std::sort(outline.begin(), outline.end());
  return outline;
}

/// Number of matching inputs, and the first of them.
struct Count {
  void add(u64 line) {
    if (inputs++ == 0) first_line = line;
  }
  u64 inputs = 0;
  u64 first_line = 0;
};

class Redaction {
 public:
  Redaction(Bytes key, std::FILE* out) : redacted_(key), engine_(redacted_), out_(out) {}

  /// An input is recorded once the next line is known: the hub may have trapped at an input without
  /// a next line.
  int run(const char* path, Reader& reader) {
    for (;;) {
      const Reader::Step step = reader.next();
      if (step == Reader::Step::broken) return unreadable(path, reader);
      if (step == Reader::Step::action) {
        recorded_.push_back(reader.line());
        continue;
      }
      if (input_) record(step == Reader::Step::end, step == Reader::Step::header);
      if (step == Reader::Step::header) {
        write(gap_line(reader.lines_missed()));
        open(reader.config(), reader.format());
      }
      if (step == Reader::Step::input) take(reader);
      if (step == Reader::Step::hash) {
        std::string line;
        recording_.append_hash(line, *hub_);
        write(line);
      }
      if (step == Reader::Step::end) break;
    }
    report(path);
    return is_whole_ ? 0 : unusable("the output", "cannot be written to");
  }

 private:
  void open(Config config, u32 format) {
    original_hub_ = std::make_unique<Hub>(config);
    redacted_.set_engine(config.engine_shards, config.engine_epoch);
    engine_.end_all_calls();
    config.hash_seed = 0;  // the live hub's seed is private
    for (std::string& origin : config.allowed_origins) origin = redacted_.each_word(origin);
    std::string line;
    append_header(line, config, format);
    write(line + "\n");
    hub_ = std::make_unique<Hub>(config);
    recording_ = Recording(format);
    format_ = format;
  }

  void take(const Reader& reader) {
    now_ = reader.now();
    line_ = reader.line_number();
    input_.emplace(reader.input());
    recorded_.clear();
    ++inputs_;
  }

  void record(bool is_end, bool is_other_hub) {
    std::string lines;
    set_trap_place(line_);
    const Input input = redacted(**input_);
    if ((is_end || is_other_hub) && recorded_.empty()) {
      append_input(lines, *hub_, now_, input, format_);
    } else {
      original_hub_->handle(now_, **input_, actions_);
      if (!is_as_recorded(is_end || is_other_hub)) unlike_recording_.add(line_);
      hub_->handle(now_, input, copied_);
      if (outline_of(actions_) != outline_of(copied_)) unlike_original_.add(line_);
      if (input.tag == InputTag::engine_up) engine_.end_calls(input.engine_up.shard);
      if (input.tag == InputTag::engine_down) engine_.end_calls(input.engine_down.shard);
      engine_.begin_calls(actions_);
      recording_.append(lines, *hub_, now_, input, copied_);
    }
    input_.reset();
    write(lines);
  }

  /// A recording may be cut off.
  bool is_as_recorded(bool is_last) const {
    std::vector<std::string> lines;
    for (const Action& action : actions_) {
      std::string line;
      append_action(line, action, format_);
      if (line.empty()) continue;  // the format does not have it
      line.pop_back();
      lines.push_back(std::move(line));
    }
    if (is_last ? recorded_.size() > lines.size() : recorded_.size() != lines.size()) return false;
    return std::equal(recorded_.begin(), recorded_.end(), lines.begin(),
                      [this](const std::string& recorded, const std::string& now) {
                        return recorded == now || (format_ == 1 && change_since_1(recorded, now) !=
                                                                       ChangeSince1::none);
                      });
  }

  /// The same input with stand-ins; the bytes it points to are valid until the next call.
  Input redacted(Input input) {
    switch (input.tag) {
      case InputTag::client_frame:
        input.client_frame.bytes = text_ = redacted_.document(input.client_frame.bytes);
        break;
      case InputTag::http_request: {
        input::HttpRequest& in = input.http_request;
        in.method = method_ = redacted_.method(in.method);
        in.path = path_ = redacted_.path(in.path);
        in.body = text_ = redacted_.document(in.body);
        in.headers = headers_ = redacted_.headers(in.headers);
        break;  // the recording only has whether its authorization was right
      }
      case InputTag::forward_done:
        input.forward_done.body = text_ = redacted_.document(input.forward_done.body);
        break;
      case InputTag::restore_token:
        input.restore_token.key = path_ = redacted_.token(input.restore_token.key);
        input.restore_token.record = text_ = redacted_.document(input.restore_token.record);
        break;
      case InputTag::restore_client:
        input.restore_client.record = text_ = redacted_.lines(input.restore_client.record);
        break;
      case InputTag::not_stored:
        input.not_stored.key = path_ = redacted_.token(input.not_stored.key);
        break;
      case InputTag::engine_answer:
        list_texts_ = engine_.answer(input.engine_answer);
        list_.assign(list_texts_.begin(), list_texts_.end());
        input.engine_answer.values = list_;
        break;
      case InputTag::engine_message:
        text_ = engine_.body(input.engine_message.topic, input.engine_message.body);
        input.engine_message.body = text_;
        input.engine_message.topic = path_ = redacted_.topic(input.engine_message.topic);
        break;
      case InputTag::engine_up:
      case InputTag::engine_down:
      case InputTag::begin:
      case InputTag::restored:
      case InputTag::client_opened:
      case InputTag::client_closed:
      case InputTag::client_lagging:
      case InputTag::timer_fired:
      case InputTag::shutting_down:
      case InputTag::draining:
        break;
    }
    return input;
  }

  /// Contains nothing that users said, so that it may be passed on too.
  void report(const char* path) const {
    const auto say = [&](const Count& count, const char* what) {
      if (count.inputs == 0) return;
      std::fprintf(stderr, "%s:%llu: %llu of %llu inputs, starting here, %s\n", path,
                   static_cast<unsigned long long>(count.first_line),
                   static_cast<unsigned long long>(count.inputs),
                   static_cast<unsigned long long>(inputs_), what);
    };
    say(unlike_recording_,
        "have other answers in this build than in the recording. The copy has this build's "
        "answers, so the bug that the recording shows may be "
        "gone: redact with the build that recorded it (replay shows the difference)");
    say(unlike_original_,
        "have other answers with stand-ins: they depend on the texts, so the bug that you "
        "want to show may be gone: replay the copy");
  }

  void write(const std::string& text) {
    is_whole_ &= std::fwrite(text.data(), 1, text.size(), out_) == text.size();
  }

  Redacted redacted_;
  EngineTexts engine_;
  std::FILE* out_;
  bool is_whole_ = true;
  std::unique_ptr<Hub> original_hub_;
  std::unique_ptr<Hub> hub_;
  Recording recording_;
  u32 format_ = format_version;
  Actions actions_;
  Actions copied_;
  Millis now_ = 0;
  u64 line_ = 0;
  u64 inputs_ = 0;
  std::optional<HeldInput> input_;
  std::vector<std::string> recorded_;  // its actions
  Count unlike_recording_;
  Count unlike_original_;
  std::string text_, method_, path_, headers_;  // the bytes a redacted input points to
  std::vector<std::string> list_texts_;
  std::vector<Bytes> list_;
};

std::string random_key() {
  std::random_device entropy;
  return compose(
      {Digits(entropy()), "/", Digits(entropy()), "/", Digits(entropy()), "/", Digits(entropy())});
}

}  // namespace

int redact(const Told& told) {
  if (const std::string wrong = wrong_with_out(told); !wrong.empty())
    return unusable("redact", wrong);
  return read_trace(told.files[0], [&](Reader& reader) {
    std::FILE* out = create_file(told.out);
    if (out == nullptr)
      return unusable(told.out, compose({"cannot be written to: ", std::strerror(errno)}));
    catch_traps();
    set_trap_file(told.files[0]);
    const int status =
        Redaction(told.key.empty() ? random_key() : told.key, out).run(told.files[0], reader);
    if (std::fclose(out) != 0)
      return unusable(told.out, compose({"cannot be written to: ", std::strerror(errno)}));
    return status;
  });
}

}  // namespace sidekick::trace
