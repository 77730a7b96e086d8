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
      trace_(swarm.engine_shards == 0 ? trace : nullptr),
      is_canary_(is_canary),
      reuses_handles_(swarm.reuses_handles),
      first_handle_(swarm.reuses_handles ? 1 : 0xF0000000),
      rows_(swarm.tokens),
      records_(swarm.clients),
      sockets_(swarm.clients),
      generations_(swarm.clients),
      stale_rows_(swarm.tokens),
      stale_records_(swarm.clients),
      epochs_(swarm.seed ^ 0x65706f6368),
      reader_(swarm, words),
      seen_in_(swarm.clients) {
  start_hub();
  Op restored;
  restored.now = first_now;
  restored.kind = OpKind::restored;
  model_.begin(restored.now, swarm.epoch);
  if (begin(restored.now, swarm.epoch)) take_input(restored);
  if (swarm.engine_shards != 0) shared_ = std::make_unique<SharedHub>(swarm, restored.now, trace);
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

bool Trial::begin(Millis now, u64 epoch) { return restore(now, input::Begin{epoch}); }

bool Trial::fail(Checker checker, std::string expected, std::string came) {
  if (!failure_) failure_ = Failure{checker, steps_, std::move(expected), std::move(came)};
  return false;
}

u32 Trial::client_of(u32 handle) const {
  const u32 client = (handle - first_handle_) % swarm_.clients;
  return handle_of(client) == handle && sockets_[client] != 0 ? client : nobody;
}

bool Trial::take(const Op& op) {
  if (failure_) return false;
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
    case OpKind::drain:
      if (!take_input(op)) return false;
      break;
    case OpKind::restored:
    case OpKind::not_stored:
      trap();  // made by restart and end_turn
  }
  if (is_failing_ && turn_left_-- == 0 && !end_turn(op.now)) return false;
  ++steps_;
  return steps_ % swarm_.deep_every != 0 || (check_rows() && check_twin_hash());
}

/// Nothing if the op cannot happen now: a list of ops must still make sense with some left out.
std::optional<Input> Trial::input_of(const Op& op) {
  switch (op.kind) {
    case OpKind::open:
      if (sockets_[op.client] != 0) return std::nullopt;
      return knock(op);
    case OpKind::close:
      // Also if the hub itself has closed it.
      if (generations_[op.client] == 0) return std::nullopt;
      lose_socket(op.client);
      return input::ClientClosed{handle_of(op.client)};
    case OpKind::frame:
      write_message(bytes_, op, words_);
      return input::ClientFrame{handle_of(op.client), bytes_, op.is_text ? 1u : 0u};
    case OpKind::lag:
      return input::ClientLagging{handle_of(op.client), op.serial};
    case OpKind::http: {
      write_message(bytes_, op, words_);
      return request_of(op);
    }
    case OpKind::answer:
      return answer_of(op);
    case OpKind::timer:
      timer_at_ = 0;
      return input::TimerFired{};
    case OpKind::shut_down:
      is_stopping_ = true;
      return input::ShuttingDown{};
    case OpKind::drain:
      drained_at_ = op.now + op.serial;
      return input::Draining{op.serial};
    case OpKind::restored:
      return input::Restored{};
    case OpKind::not_stored:
      return input::NotStored{op.client == no_one ? 0 : handle_of(op.client), op.serial,
                              op.token == no_one ? Bytes() : Bytes(words_.tokens[op.token].bytes)};
    case OpKind::restart:
    case OpKind::twin:
      return std::nullopt;
  }
  trap();
}

std::optional<Input> Trial::answer_of(const Op& op) {
  ForwardId id = 0;
  for (const Flight& flight : model_.flights())
    id = flight.message.serial == op.serial ? flight.id : id;
  for (const Ghost& ghost : model_.ghosts()) id = ghost.serial == op.serial ? ghost.id : id;
  if (id == 0) return std::nullopt;
  // The app server does not know of it.
  if (std::find(withheld_.begin(), withheld_.end(), id) != withheld_.end()) return std::nullopt;
  write_reply(bytes_, op.reply, config());
  return input::ForwardDone{id, status_of(op), bytes_, static_cast<u32>(outcome_of(op.reply))};
}

void Trial::lose_socket(u32 client) {
  sockets_[client] = 0;
  stale_records_[client] = 0;
  records_[client].clear();
  std::erase_if(writers_, [client](const Op& writer) { return writer.client == client; });
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
  if (!is_shared(op)) return true;
  const Op asked = shared_ != nullptr ? shared_op(op) : Op();
  const std::optional<Input> input = input_of(op);
  if (failure_) return false;
  if (!input) return true;
  if (!hand(op.now, *input)) return false;
  model_.step(op, static_cast<u32>(bytes_.size()), request_);
  // The model itself may promise too much.
  if (model_.broken_promise() != nullptr)
    return fail(op.verb == Verb::send ? Checker::acks : Checker::recovered, model_.broken_promise(),
                actions_.size() == 0 ? "nothing" : show(actions_[actions_.size() - 1]));
  // A host that stores one action after the other passes not_stored at once; one that commits a
  // turn loses all of it.
  fail_ = is_failing_ || (op.fail != no_cut && op.turn > 0) ? 0 : op.fail;
  has_lost_ = false;
  lost_token_ = no_one;
  if (!check_actions(op) || !compare_twin(op, *input)) return false;
  if (!compare_shared(op, *input, asked)) return false;
  note_writer(op);
  if (op.cut >= actions_.size()) return true;
  // The host dies half-way. The client that caused it is closed.
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
  peak_missed_bytes_ = std::max(peak_missed_bytes_, model_.missed_bytes());
  return check_all_met() && (op.cut < actions_.size() || check_timer());
}

/// Restored state has no consequences yet.
bool Trial::restore(Millis now, const Input& input) {
  const Bytes record = input.tag == InputTag::restore_token    ? input.restore_token.record
                       : input.tag == InputTag::restore_client ? input.restore_client.record
                                                               : Bytes();
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
  is_failing_ = false;
  writers_.clear();
  withheld_.clear();
  open_requests_.clear();  // their connections are gone, or the host itself answers
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
  peak_missed_bytes_ = 0;
  Dice dice(op.serial);
  for (u32 client = 0; client < swarm_.clients; ++client) {
    const bool is_lost = op.restart == Restart::reset ||
                         (op.restart == Restart::some_lost && dice.chance(400)) ||
                         (op.restart == Restart::trap && client == op.client);
    if (is_lost) sockets_[client] = 0;
    if (sockets_[client] == 0) records_[client].clear();
  }
  std::fill(stale_rows_.begin(), stale_rows_.end(), u8{0});
  std::fill(stale_records_.begin(), stale_records_.end(), u8{0});
  if (dice.chance(200)) write_later();
  config_ = op.config;
  start_hub();
  const u64 epoch = draw_epoch(epochs_);
  if (!begin(op.now, epoch)) return false;
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
  model_.reload(op.now, config_, epoch, rows_, records_, sockets_);
  Op next;
  next.now = op.now;
  next.kind = OpKind::restored;
  if (!take_input(next)) return false;
  if (op.restart == Restart::reset) drained_at_ = 0;  // another process
  next.kind = OpKind::drain;
  next.serial = static_cast<u32>(drained_at_ > op.now ? drained_at_ - op.now : 0);
  if (drained_at_ != 0 && !take_input(next)) return false;
  next.kind = OpKind::shut_down;
  return !is_stopping_ || take_input(next);
}

/// As a later version leaves records behind: members that this one does not know are skipped.
void Trial::write_later() {
  const auto add = [](std::string& record, Bytes member) {
    record.resize(record.size() - Bytes(" }").size());
    record += member;
  };
  for (TokenRow& row : rows_) {
    if (!row.is_there || row.is_of_later_version) continue;
    row.is_of_later_version = true;
    add(row.record, later_token_member);
  }
  for (std::string& record : records_) {
    if (record.ends_with(" }") && !record.ends_with(later_client_member))
      add(record, later_client_member);
  }
}

}  // namespace sidekick::sim
