// redact: the same recording with stand-ins for all that users and app servers said. The inputs are changed, and what the core says to them is
// recorded anew, so the copy replays like any recording. Kept: numbers (clients, times, sizes), structure, lengths, the protocol's own names.
#include <cstdio>
#include <memory>
#include <random>

#include "command.hpp"
#include "core_hub.hpp"
#include "file_input.hpp"
#include "record_command.hpp"
#include "sidekick/text.hpp"
#include "stand_in.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"};
constexpr Bytes routes[] = {"/connection", "/resources", "/message", "/health", "/socket"};

class Redaction {
 public:
  Redaction(Bytes key, std::FILE* out) : stand_ins_(key), out_(out) {}

  /// An input is recorded once the next line is known: on one that nothing follows the hub may have trapped.
  int run(const char* path, Reader& reader) {
    for (;;) {
      const Reader::Step step = reader.next();
      if (step == Reader::Step::broken) return unreadable(path, reader);
      const bool may_have_trapped = step == Reader::Step::header || step == Reader::Step::end;
      set_trap_place(reader.line_number() - 1);
      if (has_input_) record(may_have_trapped && !has_actions_);
      if (step == Reader::Step::header) open(reader.config());
      if (step == Reader::Step::input) take(reader);
      if (step == Reader::Step::action) has_actions_ = true;
      if (step == Reader::Step::hash) {
        std::string line;
        recording_.append_hash(line, *hub_);
        write(line);
      }
      if (step == Reader::Step::end) break;
    }
    if (is_whole_) return 0;
    return unusable("the output", "cannot be written to");
  }

 private:
  void open(Config config) {
    config.hash_seed = 0;  // the live hub's is nobody's business
    std::string line;
    append_header(line, config);
    write(line + "\n");
    hub_ = std::make_unique<Hub>(config);
    recording_ = {};
  }

  void take(const Reader& reader) {
    now_ = reader.now();
    input_.emplace(reader.input());
    has_input_ = true;
    has_actions_ = false;
    switch (input_->tag) {
      case InputTag::client_frame:
        input_->client_frame.bytes = text_ = stand_ins_.of_document(input_->client_frame.bytes);
        break;
      case InputTag::http_request: {
        input::HttpRequest& in = input_->http_request;
        method_ = is_known(in.method) ? std::string(in.method) : stand_ins_.of(in.method);
        path_ = path_of(in.path);
        bearer_ = in.authorization;
        in.body = text_ = stand_ins_.of_document(in.body);
        in.method = method_;
        in.path = path_;
        in.authorization = bearer_;
        break;
      }
      case InputTag::forward_done:
        input_->forward_done.body = text_ = stand_ins_.of_document(input_->forward_done.body);
        break;
      case InputTag::restore_token:
        input_->restore_token.key = path_ = stand_ins_.of(input_->restore_token.key);
        input_->restore_token.record = text_ = stand_ins_.of_document(input_->restore_token.record);
        break;
      case InputTag::restore_client:
        input_->restore_client.record = text_ = lines_of(input_->restore_client.record);
        break;
      case InputTag::client_opened:
      case InputTag::client_closed:
      case InputTag::client_lagging:
      case InputTag::timer_fired:
      case InputTag::shutting_down:
        break;
    }
  }

  void record(bool is_last) {
    std::string lines;
    has_input_ = false;
    if (is_last) {
      append_input(lines, *hub_, now_, *input_);
    } else {
      hub_->handle(now_, *input_, actions_);
      recording_.append(lines, *hub_, now_, *input_, actions_);
    }
    write(lines);
  }

  static bool is_known(Bytes method) {
    for (const Bytes known : methods) {
      if (method == known) return true;
    }
    return false;
  }

  /// A path that there is stays; what follows it, and the host before it, does not.
  std::string path_of(Bytes path) const {
    const std::size_t query = std::min(path.find_first_of("?#"), path.size());
    const std::size_t scheme = path.starts_with("http://") || path.starts_with("https://") ? path.find("://") + 3 : 0;
    const std::size_t begin = scheme == 0 ? 0 : std::min(path.find('/', scheme), query);
    const Bytes route = path.substr(begin, query - begin);
    bool is_route = false;
    for (const Bytes known : routes) is_route |= route == known;
    return compose({path.substr(0, scheme), stand_ins_.of(path.substr(scheme, begin - scheme)), is_route ? std::string(route) : stand_ins_.of(route),
                    stand_ins_.of(path.substr(query))});
  }

  std::string lines_of(Bytes record) const {
    std::string out;
    for (std::size_t at = 0; at < record.size();) {
      const std::size_t end = std::min(record.find('\n', at), record.size());
      out += stand_ins_.of_document(record.substr(at, end - at));
      if (end < record.size()) out += '\n';
      at = end + 1;
    }
    return out;
  }

  void write(const std::string& text) { is_whole_ &= std::fwrite(text.data(), 1, text.size(), out_) == text.size(); }

  StandIns stand_ins_;
  std::FILE* out_;
  bool is_whole_ = true;
  std::unique_ptr<Hub> hub_;
  Recording recording_;
  Actions actions_;
  Millis now_ = 0;
  std::optional<Input> input_;
  std::string text_, method_, path_, bearer_;  // what input_ points to
  bool has_input_ = false;
  bool has_actions_ = false;
};

std::string random_key() {
  std::random_device entropy;
  return compose({Digits(entropy()), "/", Digits(entropy()), "/", Digits(entropy()), "/", Digits(entropy())});
}

}  // namespace

int redact(const Told& told) {
  if (told.out.empty()) return unusable("redact", "expected -o OUT, the file to write");
  if (told.out == told.files[0]) return unusable(told.out, "expected another file than the trace itself");
  FileInput stream(told.files[0]);
  if (!stream) return unusable(told.files[0], "cannot be opened");
  std::FILE* out = std::fopen(told.out.c_str(), "wb");
  if (out == nullptr) return unusable(told.out, "cannot be written to");
  catch_traps();
  set_trap_file(told.files[0]);
  Reader reader(stream);
  const int status = Redaction(told.key.empty() ? random_key() : told.key, out).run(told.files[0], reader);
  if (std::fclose(out) != 0) return unusable(told.out, "cannot be written to");
  return status;
}

}  // namespace sidekick::trace
