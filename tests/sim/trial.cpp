// The duties of a host: docs/architecture.md, "Hosts" and "Records".
#include "trial.hpp"

#include <algorithm>

#include "rescue.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::sim {

Trial::Trial(const Swarm& swarm, const Words& words, std::string* trace, bool is_canary)
    : swarm_(swarm),
      words_(words),
      model_(swarm, words),
      trace_(trace),
      is_canary_(is_canary),
      reuses_handles_(swarm.reuses_handles),
      first_handle_(swarm.reuses_handles ? 1 : 0xF0000000),
      rows_(swarm.tokens),
      records_(swarm.clients),
      sockets_(swarm.clients),
      generations_(swarm.clients),
      reader_(swarm, words),
      seen_in_(swarm.clients) {
  start_hub();
}

Trial::~Trial() = default;

void Trial::start_hub() {
  if (trace_ != nullptr) {
    trace::append_header(*trace_, config());
    *trace_ += '\n';
  }
  const Account account(held_bytes_);
  hub_ = std::make_unique<Hub>(config());
}

bool Trial::fail(Checker checker, std::string expected, std::string came) {
  if (!failure_) failure_ = Failure{checker, steps_, std::move(expected), std::move(came)};
  return false;
}

u32 Trial::client_of(u32 handle) const {
  const u32 client = (handle - first_handle_) % swarm_.clients;
  return handle_of(client) == handle && sockets_[client] != 0 ? client : nobody;
}

bool Trial::take(const Op& op) {
  switch (op.kind) {
    case OpKind::restart:
      if (!restart(op)) return false;
      break;
    case OpKind::twin:
      start_twin(model_.now());
      if (!check_twin_hash()) return false;
      break;
    case OpKind::open:
    case OpKind::close:
    case OpKind::frame:
    case OpKind::lag:
    case OpKind::http:
    case OpKind::answer:
    case OpKind::timer:
    case OpKind::shut_down:
      if (!take_input(op)) return false;
      break;
  }
  ++steps_;
  return steps_ % swarm_.deep_every != 0 || (check_rows() && check_twin_hash());
}

/// Nothing if the op cannot happen now: a list of ops must still make sense with some left out.
std::optional<Input> Trial::input_of(const Op& op) {
  switch (op.kind) {
    case OpKind::open:
      if (sockets_[op.client] != 0) return std::nullopt;
      sockets_[op.client] = 1;
      records_[op.client].clear();
      ++generations_[op.client];
      return input::ClientOpened{handle_of(op.client)};
    case OpKind::close:
      // Also if the hub itself has closed it.
      if (generations_[op.client] == 0) return std::nullopt;
      sockets_[op.client] = 0;
      records_[op.client].clear();
      return input::ClientClosed{handle_of(op.client)};
    case OpKind::frame:
      write_message(bytes_, op, words_);
      return input::ClientFrame{handle_of(op.client), bytes_};
    case OpKind::lag:
      return input::ClientLagging{handle_of(op.client), op.serial};
    case OpKind::http: {
      write_message(bytes_, op, words_);
      return request_of(op);
    }
    case OpKind::answer: {
      u32 id = 0;
      for (const Flight& flight : model_.flights())
        id = flight.message.serial == op.serial ? flight.id : id;
      for (const Ghost& ghost : model_.ghosts()) id = ghost.serial == op.serial ? ghost.id : id;
      if (id == 0) return std::nullopt;
      write_reply(bytes_, op.reply, config());
      return input::ForwardDone{id, status_of(op), bytes_};
    }
    case OpKind::timer:
      timer_at_ = 0;
      return input::TimerFired{};
    case OpKind::shut_down:
      is_stopping_ = true;
      return input::ShuttingDown{};
    case OpKind::restart:
    case OpKind::twin:
      return std::nullopt;
  }
  trap();
}

input::HttpRequest Trial::request_of(const Op& op) {
  // Every part is valid, or wrong in the same way.
  static constexpr Bytes wrong_secrets[] = {"Bearer the-secrets",
                                            "Bearer the-secreT",
                                            "Bearer she-secret",
                                            "Bearer the_secret",
                                            "Bearer xhe-other-secret",
                                            "Bearer the-otter-secret",
                                            "Bearer the",
                                            "Bearer ",
                                            "Basic the-secret",
                                            "the-secret"};
  static constexpr Bytes wrong_paths[] = {"/connections", "/", "", "//message", "http://host"};
  const bool is_health = op.verb == Verb::health;
  const Bytes wrong_methods[] = {"PUT", is_health ? "get" : "post", "", is_health ? "POST" : "HEAD",
                                 is_health ? "OPTIONS" : "GET"};
  static constexpr Bytes paths[3][4] = {
      {"/connection", "/resources", "/message", "/health"},
      {"/connection?a=/message", "/resources?", "/message#x", "/health?x"},
      {"http://host/connection", "https://host:1/resources?x", "http://h/message",
       "http:///health"}};
  if (is_health) bytes_.clear();
  input::HttpRequest http{
      ++request_,          0,     !is_health ? "POST" : op.serial % 3 == 0 ? "HEAD" : "GET", "",
      "Bearer the-secret", bytes_};
  http.path = paths[op.serial % 8 < 6 ? 0 : op.serial % 8 - 5]
                   [static_cast<u32>(op.verb) - static_cast<u32>(Verb::connection)];
  switch (op.gate) {
    case Gate::open:
      break;
    case Gate::other_secret:
      http.authorization = "bearer the-other-secret";
      break;
    case Gate::wrong_secret:
      http.authorization = wrong_secrets[op.serial % std::size(wrong_secrets)];
      break;
    case Gate::no_secret:
      http.authorization = "";
      break;
    case Gate::wrong_method:
      http.method = wrong_methods[op.serial % std::size(wrong_methods)];
      break;
    case Gate::wrong_path:
      http.path = wrong_paths[op.serial % std::size(wrong_paths)];
      break;
    case Gate::socket:
      http.method = "GET";
      http.path = "/socket";
      break;
    case Gate::too_large:
      http.body = "";
      http.body_bytes = config().http_body_bytes_max + 1;
      break;
    case Gate::count:
      trap();
  }
  if (http.body_bytes == 0) http.body_bytes = static_cast<u32>(http.body.size());
  // A host reads only as much of a body as the hub asks for.
  const bool is_worth_reading =
      !is_health &&
      (op.gate == Gate::open || op.gate == Gate::other_secret || op.gate == Gate::too_large);
  const u32 worth = is_worth_reading ? config().http_body_bytes_max : 0;
  const u32 came = hub_->body_bytes_max(http.method, http.path, http.authorization);
  if (came != worth)
    fail(Checker::answers, compose({Digits(worth), " bytes of the body to read"}),
         compose({Digits(came)}));
  if (http.body.size() > came) http.body = "";
  return http;
}

bool Trial::hand(Millis now, const Input& input) {
  ++inputs_;
  if (trace_ != nullptr) trace::append_input(*trace_, *hub_, now, input);
  const bool is_alive = survives([&] {
    const Account account(held_bytes_);
    hub_->handle(now, input, actions_);
  });
  if (!is_alive) return lose_hub("a trap in the hub");
  if (trace_ == nullptr) return true;
  for (const Action& action : actions_) trace::append_action(*trace_, action);
  return true;
}

/// Its state is unknown: abandon it together with what it was writing.
bool Trial::lose_hub(const char* what) {
  static_cast<void>(hub_.release());
  static_cast<void>(twin_.release());
  std::construct_at(&actions_);
  std::construct_at(&twin_actions_);
  return fail(Checker::alive, "an answer", what);
}

bool Trial::take_input(const Op& op) {
  const std::optional<Input> input = input_of(op);
  if (failure_) return false;
  if (!input) return true;
  if (!hand(op.now, *input)) return false;
  model_.step(op, static_cast<u32>(bytes_.size()), request_);
  if (!check_actions(op) || !compare_twin(op.now, *input)) return false;
  if (op.cut >= actions_.size()) return true;
  // A change that could not be stored is not confirmed: the host drops the hub and continues from
  // the store. The client that caused it is closed.
  Op after = op;
  after.kind = OpKind::restart;
  after.restart = Restart::trap;
  after.config = config_;
  if (op.kind != OpKind::frame && op.kind != OpKind::open && op.kind != OpKind::close &&
      op.kind != OpKind::lag)
    after.client = 0xFFFF;
  return restart(after);
}

bool Trial::check_actions(const Op& op) {
  cut_ = op.cut;
  performed_ = 0;
  first_open_ = 0;
  long long text_bytes = 0;
  for (const Action& action : actions_) {
    if (!check(action)) return false;
    text_bytes += text_bytes_of(action);
    digest_ = digest_of(digest_, action);
    ++performed_;
  }
  cut_ = no_cut;
  const std::array<u32, 4> counts = {model_.client_count(), model_.token_count(),
                                     model_.topic_count(),
                                     static_cast<u32>(model_.flights().size())};
  for (std::size_t kind = 0; kind < counts.size(); ++kind)
    peaks_[kind] = std::max(peaks_[kind], counts[kind]);
  peak_text_bytes_ = std::max(peak_text_bytes_, text_bytes);
  return check_all_met() && (op.cut < actions_.size() || check_timer());
}

/// Restored state has no consequences yet.
bool Trial::restore(Millis now, const Input& input) {
  const Bytes record = input.tag == InputTag::restore_token ? input.restore_token.record
                                                            : input.restore_client.record;
  peak_text_bytes_ =
      std::max(peak_text_bytes_,
               static_cast<long long>(record.size()));  // the record as read may be rewritten
  if (!hand(now, input)) return false;
  if (actions_.empty()) return true;
  return fail(Checker::rows, "no action while records are restored", show(actions_[0]));
}

bool Trial::restart(const Op& op) {
  // Rows of a host that died half-way show a state between before and after; otherwise they must
  // show the current state.
  if (op.kind == OpKind::restart && op.cut == no_cut && !check_rows()) return false;
  if (!check_twin_hash()) return false;
  twin_.reset();
  {
    const Account account(held_bytes_);
    hub_.reset();
    actions_ = Actions();
  }
  if (held_bytes_ != 0)
    return fail(Checker::memory, "no byte held after the hub is gone",
                compose({Digits(static_cast<u64>(held_bytes_))}));
  timer_at_ = 0;
  peaks_ = {};
  peak_text_bytes_ = 0;
  Dice dice(op.serial);
  for (u32 client = 0; client < swarm_.clients; ++client) {
    const bool is_lost = op.restart == Restart::reset ||
                         (op.restart == Restart::some_lost && dice.chance(400)) ||
                         (op.restart == Restart::trap && client == op.client);
    if (is_lost) sockets_[client] = 0;
    if (sockets_[client] == 0) records_[client].clear();
  }
  config_ = op.config;
  start_hub();
  const u64 restored_from = inputs_;
  // In no particular order.
  const u32 start = dice.below(swarm_.tokens);
  for (u32 i = 0; i < swarm_.tokens; ++i) {
    const u32 token = (start + i) % swarm_.tokens;
    const TokenRow& row = rows_[token];
    if (row.is_there &&
        !restore(op.now, input::RestoreToken{row.state, row.expires_at, words_.tokens[token].bytes,
                                             row.record}))
      return false;
  }
  for (u32 i = 0; i < swarm_.clients; ++i) {
    const u32 client = (start + i) % swarm_.clients;
    if (sockets_[client] != 0 &&
        !restore(op.now, input::RestoreClient{handle_of(client), records_[client]}))
      return false;
  }
  // A hub without input has seen no time.
  model_.reload(inputs_ > restored_from ? op.now : 0, config_, rows_, records_, sockets_);
  Op next;
  next.now = op.now;
  next.kind = OpKind::timer;
  if (op.restart == Restart::trap && !take_input(next)) return false;
  next.kind = OpKind::shut_down;
  return !is_stopping_ || take_input(next);
}

}  // namespace sidekick::sim
