// shrink: from a long trace to the shortest found that shows the same. A candidate is a subset of
// the inputs; its actions are recorded again each time, so finding a difference needs two
// recordings: of this build's core, and of the command for the other build. Holds the inputs of one
// hub.
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "about.hpp"
#include "command.hpp"
#include "files.hpp"
#include "members.hpp"
#include "progress.hpp"
#include "shrink/lighten.hpp"
#include "shrink/parties.hpp"
#include "sidekick/text.hpp"
#include "trace/printable.hpp"

namespace sidekick::trace {

namespace {

struct Item {
  std::string line;  // with its newline
  About about;
  u32 client = 0;
  bool is_opening = false;
  bool is_closing = false;
  std::vector<u32> calls;  // to the engine, which the hub made after this input
  u32 answered = 0;        // the call of an engine_answer
};

constexpr Bytes call_member = "\"call\":";

/// The line of an engine_answer says so, and has no spaces.
void set_answered(Item& item, u32 call) {
  const std::size_t at = item.line.find(call_member);
  SIDEKICK_CHECK(at != std::string::npos);
  const std::size_t begin = at + call_member.size();
  item.line.replace(begin, item.line.find_first_of(",}", begin) - begin, std::to_string(call));
  item.answered = call;
}

/// Empty if the action is no call.
std::optional<u32> call_of(const nlohmann::json& action) {
  const Bytes name = plain_text_of(action, "out");
  if (name != "engine_run" && name != "engine_join") return {};
  return static_cast<u32>(number_of(action, "call"));
}

/// The result of a candidate. Only results of the same kind are equal.
struct Finding {
  std::string kind;       // empty: nothing
  std::size_t index = 0;  // of the input if it is known; else the last
};

Bytes member_of(Bytes line, Bytes begin) {
  if (!line.starts_with(begin)) return "no input";
  line.remove_prefix(begin.size());
  return line.substr(0, line.find('"'));
}

int told_of_interrupt(const char* path, const char* what) {
  progress::erase();
  std::fprintf(stderr, "%s: interrupted; %s\n", path, what);
  return 130;  // like a shell
}

class Shrinker {
 public:
  Shrinker(const Told& told) : told_(told), other_(told.against) {
    parties_.push_back(&core_);
    if (!told.against.empty()) parties_.push_back(&other_);
  }

  /// The exit status, or -1 if this hub shows nothing.
  int run(const std::string& header, std::vector<Item> items) {
    header_ = header;
    inputs_before_ = items.size();
    const Finding whole = find(items);
    if (was_interrupted())
      return told_of_interrupt(told_.files[0], "nothing found yet, nothing written");
    if (!error_.empty()) return unusable("shrink", error_);
    if (whole.kind.empty()) return -1;
    kind_ = whole.kind;
    adopt(std::move(items), whole);
    cut_tail();
    keep_what_concerns_the_last();
    while (drop_chunks()) {
    }
    lighten_each();
    const bool is_interrupted = was_interrupted();
    if (is_interrupted) {
      error_.clear();
      forget_interrupt();  // a second signal ends the writing
    }
    if (!error_.empty()) return unusable("shrink", error_);
    const int status = write();
    if (status != 0) return status;
    if (is_interrupted)
      return told_of_interrupt(told_.out.c_str(), "this is the shortest found so far");
    if (has_tried_all_) {
      std::fprintf(
          stderr,
          "%s: stopped after %u trials, candidates are left: continue with `sidekick-trace "
          "shrink %s -o OTHER` and the same options, or raise the limit (--trials N)\n",
          told_.out.c_str(), told_.trials, told_.out.c_str());
    }
    return 0;
  }

 private:
  /// Leaves out what a host must never do: opening a client that is open, and answering a call that
  /// the hub did not make. A hub numbers its calls, so the remaining ones get other numbers. (The
  /// whole trace is tried unchanged.)
  std::vector<Item> lawful(const std::vector<Item>& items) const {
    std::set<u32> open;
    std::map<u32, u32> numbers;  // of the calls, now and in the candidate
    std::vector<Item> kept;
    for (const Item& item : items) {
      if (item.is_opening && !open.insert(item.client).second) continue;
      if (item.is_closing) open.erase(item.client);
      const auto number = numbers.find(item.answered);
      if (number == numbers.end() && calls_.contains(item.answered)) continue;
      kept.push_back(item);
      if (number != numbers.end()) set_answered(kept.back(), number->second);
      for (u32& call : kept.back().calls) {
        const auto next = static_cast<u32>(numbers.size() + 1);
        call = numbers.emplace(call, next).first->second;
      }
    }
    return kept;
  }

  /// These inputs show it, as `answers_` has it.
  void adopt(std::vector<Item> items, const Finding& found) {
    read_calls(items);
    items.resize(std::min(items.size(), found.index + 1));
    items_ = std::move(items);
    calls_.clear();
    for (const Item& item : items_) calls_.insert(item.calls.begin(), item.calls.end());
  }

  /// Without other inputs, an input may cause other calls. The output of a hub that trapped lacks
  /// its end, so its last inputs keep the calls that they had.
  void read_calls(std::vector<Item>& items) const {
    std::size_t inputs = 0;
    std::vector<u32> calls;
    const Bytes text = answers_[0].text;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const Bytes line = text.substr(at, end - at);
      at = end + 1;
      if (line.starts_with("{\"in\":")) {
        if (inputs > 0) items[inputs - 1].calls = std::move(calls);
        calls.clear();
        ++inputs;
      }
      if (!line.starts_with("{\"out\":\"engine_")) continue;
      const auto call = call_of(nlohmann::json::parse(line, nullptr, false));
      if (call) calls.push_back(*call);
    }
    if (inputs > 0 && inputs == items.size() && !answers_[0].has_trapped)
      items[inputs - 1].calls = std::move(calls);
  }

  Finding find(const std::vector<Item>& items) {
    ++trials_;
    progress::on_trial(items_.empty() ? items.size() : items_.size(), inputs_before_, trials_);
    std::string text = header_;
    for (const Item& item : items) text += item.line;
    error_ = ask(parties_, text, answers_);
    const std::size_t last = items.empty() ? 0 : items.size() - 1;
    if (!error_.empty()) return {};
    if (told_.until == "trap") return answers_[0].has_trapped ? Finding{"trap", last} : Finding{};
    if (!told_.against.empty()) return find_difference(last);
    return find_said(Bytes(told_.until).substr(5));
  }

  Finding find_said(Bytes wanted) const {
    std::size_t inputs = 0;
    const Bytes text = answers_[0].text;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const Bytes line = text.substr(at, end - at);
      if (line.starts_with("{\"in\":")) ++inputs;
      if (line.starts_with("{\"out\":") && line.find(wanted) != Bytes::npos)
        return {"says", inputs - 1};
      at = end == Bytes::npos ? text.size() : end + 1;
    }
    return {};
  }

  Finding find_difference(std::size_t last) {
    if (answers_[0].has_trapped && answers_[1].has_trapped) return {};
    if (answers_[0].has_trapped || answers_[1].has_trapped)
      return {answers_[0].has_trapped ? "this build traps" : "the other traps", last};
    // The headers may differ: each contains its version.
    Bytes one = Bytes(answers_[0].text).substr(answers_[0].text.find('\n') + 1);
    Bytes other = Bytes(answers_[1].text).substr(answers_[1].text.find('\n') + 1);
    std::size_t inputs = 0;
    Bytes input;
    while (!one.empty() || !other.empty()) {
      const Bytes line = one.substr(0, one.find('\n'));
      const Bytes other_line = other.substr(0, other.find('\n'));
      if (line != other_line) {
        if (line.starts_with("{\"in\":") && other_line.starts_with("{\"in\":")) {
          error_ = compose({"the command did not repeat the header and the inputs: expected ",
                            printable(line, 200), ", found ", printable(other_line, 200)});
          return {};
        }
        // Not by text: a publish that reaches one receiver too many may shrink to one that reaches
        // one instead of none.
        const std::string kind(member_of(input, "{\"in\":\""));
        return {kind, inputs == 0 ? 0 : inputs - 1};
      }
      if (line.starts_with("{\"in\":")) {
        ++inputs;
        input = line;
      }
      one.remove_prefix(std::min(one.size(), line.size() + 1));
      other.remove_prefix(std::min(other.size(), other_line.size() + 1));
    }
    return {};
  }

  /// Adopts the candidate if it shows the same.
  bool attempt(std::vector<Item> candidate) {
    if (is_over()) return false;
    if (trials_ >= told_.trials) {
      has_tried_all_ = true;
      return false;
    }
    candidate = lawful(candidate);
    const Finding found = find(candidate);
    if (found.kind != kind_) return false;
    adopt(std::move(candidate), found);
    return true;
  }

  /// A trap has no place: finds the shortest beginning that traps.
  void cut_tail() {
    if (!is_trap()) return;
    for (std::size_t low = 0; low + 1 < items_.size();) {
      const std::size_t middle = low + (items_.size() - low) / 2;
      if (!attempt({items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(middle)}))
        low = middle;
    }
  }

  /// A guess that is often right and saves most trials: the inputs about the same clients, tokens
  /// or topics, or about related ones.
  void keep_what_concerns_the_last() {
    if (items_.empty()) return;
    About about = items_.back().about;
    for (int step = 0; step < 2; ++step) {
      std::vector<Item> candidate;
      About wider = about;
      for (std::size_t i = 0; i < items_.size(); ++i) {
        if (i + 1 < items_.size() && !items_[i].about.meets(about)) continue;
        candidate.push_back(items_[i]);
        if (items_[i].about.clients.size() < 2) wider.add(items_[i].about);
      }
      if (candidate.size() == items_.size() || attempt(std::move(candidate))) return;
      about = wider;
    }
  }

  bool drop_chunks() {
    const std::size_t before = items_.size();
    for (std::size_t chunk = std::max<std::size_t>(items_.size() / 2, 1); chunk > 0; chunk /= 2) {
      for (std::size_t end = items_.size(); end > 0;) {
        const std::size_t start = end > chunk ? end - chunk : 0;
        std::vector<Item> candidate(items_.begin(),
                                    items_.begin() + static_cast<std::ptrdiff_t>(start));
        candidate.insert(candidate.end(),
                         items_.begin() + static_cast<std::ptrdiff_t>(std::min(end, items_.size())),
                         items_.end());
        attempt(std::move(candidate));
        end = std::min(start, items_.size());
      }
    }
    return items_.size() < before && !is_over();
  }

  /// Messages with fewer resources and less content.
  void lighten_each() {
    for (std::size_t i = 0; i < items_.size() && !is_over(); ++i) {
      for (u32 way = 0; i < items_.size() && !is_over();) {
        std::string line = lighter(items_[i].line, way);
        if (line.empty()) break;
        std::vector<Item> candidate = items_;
        candidate[i].line = std::move(line);
        if (!attempt(std::move(candidate))) ++way;
      }
    }
  }

  bool is_over() const { return has_tried_all_ || was_interrupted() || !error_.empty(); }
  bool is_trap() const { return kind_.find("trap") != std::string::npos; }

  int write() {
    find(items_);
    std::string text = answers_[parties_.size() - 1].text;
    if (is_trap()) {
      // The inputs before it, and the input itself.
      const std::string last = items_.back().line;
      items_.pop_back();
      find(items_);
      text = answers_[0].text + last;
    }
    progress::erase();
    if (!error_.empty()) return unusable("shrink", error_);
    std::FILE* out = create_file(told_.out);
    if (out == nullptr || std::fwrite(text.data(), 1, text.size(), out) != text.size() ||
        std::fclose(out) != 0)
      return unusable(told_.out, "cannot be written to");
    const auto lines = static_cast<unsigned long long>(std::count(text.begin(), text.end(), '\n'));
    u64 left = 0;
    for (std::size_t at = text.find("\n{\"in\":"); at != std::string::npos;
         at = text.find("\n{\"in\":", at + 1))
      ++left;
    std::printf("%s: %llu inputs of %zu, %llu lines\n", told_.out.c_str(),
                static_cast<unsigned long long>(left), inputs_before_, lines);
    return 0;
  }

  const Told& told_;
  Party core_{""};
  Party other_;
  std::vector<Party*> parties_;
  std::vector<Answer> answers_;
  std::string error_;
  std::string header_;
  std::string kind_;
  std::vector<Item> items_;
  std::size_t inputs_before_ = 0;
  std::set<u32> calls_;  // those of `items_`
  u32 trials_ = 0;
  bool has_tried_all_ = false;
};

/// An error for options that cannot be combined.
std::string wrong_of(const Told& told) {
  if (const std::string wrong = wrong_with_out(told); !wrong.empty()) return wrong;
  if (told.until.empty()) {
    if (!told.against.empty()) return "";
    return "expected --against COMMAND, --until trap or --until says:TEXT. COMMAND records as the "
           "other build does (\"OLD/sidekick-trace record -\", \"sidekick-trace record - --module "
           "OLD.wasm\"), since the recorded actions do not fit fewer inputs";
  }
  if (told.until != "trap" && !(told.until.starts_with("says:") && told.until.size() > 5)) {
    return compose({"expected trap or says:TEXT after --until, found ", told.until});
  }
  return told.against.empty() ? ""
                              : compose({"expected no --against with --until ", told.until,
                                         ", which tests only this build"});
}

Item item_of(const Reader& reader, Follower& follower) {
  Item item;
  item.line = reader.line() + "\n";
  const Input& input = reader.input();
  item.about = follower.follow(reader.now(), input);
  item.is_opening = input.tag == InputTag::client_opened || input.tag == InputTag::restore_client;
  item.is_closing = input.tag == InputTag::client_closed;
  if (input.tag == InputTag::engine_answer) {
    item.line = nlohmann::ordered_json::parse(item.line).dump() + "\n";
    item.answered = input.engine_answer.call;
  }
  if (input.tag == InputTag::client_opened) item.client = input.client_opened.client;
  if (input.tag == InputTag::restore_client) item.client = input.restore_client.client;
  if (input.tag == InputTag::client_closed) item.client = input.client_closed.client;
  return item;
}

/// Each hub separately; the first one that shows something is used.
int shrink_trace(const Told& told, Reader& reader) {
  Shrinker shrinker(told);
  Follower follower;
  std::string header;
  std::vector<Item> items;
  bool has_inputs = false;
  for (;;) {
    const Reader::Step step = reader.next();
    if (step == Reader::Step::broken) return unreadable(told.files[0], reader);
    const bool is_end = step == Reader::Step::end || step == Reader::Step::header;
    if (is_end && !items.empty()) {
      if (const int status = shrinker.run(header, std::move(items)); status >= 0) return status;
      items = {};
    }
    if (was_interrupted())
      return told_of_interrupt(told.files[0], "nothing found yet, nothing written");
    if (step == Reader::Step::end) break;
    if (step == Reader::Step::header) {
      header = reader.line() + "\n";
      follower.open();
    }
    if (step == Reader::Step::input) {
      has_inputs = true;
      items.push_back(item_of(reader, follower));
    }
    if (step == Reader::Step::action) {
      const nlohmann::json action = nlohmann::json::parse(reader.line());
      const About& about = follower.follow(action);
      if (items.empty()) continue;
      if (about.clients.size() < 2) items.back().about.add(about);
      if (const auto call = call_of(action)) items.back().calls.push_back(*call);
    }
  }
  progress::erase();
  std::fprintf(stderr, "%s: nothing to shrink: %s\n", told.files[0],
               !has_inputs            ? "it has no inputs"
               : told.until == "trap" ? "this build does not trap on it"
               : told.against.empty() ? "this build does not say that"
                                      : "this build and the other record the same");
  return 1;
}

}  // namespace

int shrink(const Told& told) {
  if (const std::string wrong = wrong_of(told); !wrong.empty()) return unusable("shrink", wrong);
  catch_interrupts();
  return read_trace(told.files[0], [&](Reader& reader) { return shrink_trace(told, reader); });
}

}  // namespace sidekick::trace
