#include "net/loop.hpp"

#include <algorithm>
#include <exception>
#include <tuple>

#include <boost/asio/post.hpp>

#include "net/wire.hpp"

namespace sidekick::host {

namespace {

constexpr std::chrono::milliseconds deadline_step{250};
/// For all connections together: a few hundred messages of the default limit, and little compared
/// to the server's memory.
constexpr std::size_t unfinished_bytes_max = 256 * 1024 * 1024;

}  // namespace

void Loop::flush_later(std::shared_ptr<Wire> wire) {
  this_turn_->wires.push_back(std::move(wire));
  end_turn_later();
}

void Loop::end_turn_later() {
  if (is_ending_turn_) return;
  is_ending_turn_ = true;
  // Runs right after the events that were waiting: it adds no noticeable delay to one event, and
  // with many events each socket gets one write.
  asio::post(context_, [this] { end_turn(); });
}

/// If a handler throws (out of memory, a bug), its object is closed; the others still get their
/// turn.
template <class Call>
void Loop::call_each(const std::vector<std::shared_ptr<Wire>>& wires, Call call) {
  std::exception_ptr broken;
  for (const auto& wire : wires) {
    try {
      call(*wire);
    } catch (...) {
      if (broken == nullptr) broken = std::current_exception();
      asio::post(context_, [wire] { wire->drop("an internal error"); });
    }
  }
  if (broken != nullptr) std::rethrow_exception(broken);
}

void Loop::end_turn() {
  is_ending_turn_ = false;
  ++turn_;
  before_writes();
  try {
    flush_ending_turn();  // it is empty unless an error interrupted it
    std::swap(this_turn_, ending_turn_);
    flush_ending_turn();
  } catch (...) {
    end_turn_later();  // for the others
    throw;
  }
  after_writes();
}

void Loop::flush_ending_turn() {
  call_each(ending_turn_->wires, [](Wire& wire) { wire.flush_turn(); });
  ending_turn_->wires.clear();
  ending_turn_->batches.clear();
}

void Loop::call_next_turn(std::shared_ptr<Wire> wire) {
  next_turn_.push_back(std::move(wire));
  if (next_turn_.size() == 1) asio::post(context_, [this] { run_next_turn(); });
}

void Loop::run_next_turn() {
  const auto wires = std::exchange(next_turn_, {});
  call_each(wires, [](Wire& wire) { wire.on_turn(); });
}

void Loop::set_deadline(std::shared_ptr<Wire> wire, std::chrono::milliseconds from_now) {
  Wire* key = wire.get();
  const Time now = std::chrono::steady_clock::now();
  deadlines_[key] = {std::move(wire), now + from_now, now};
  check_deadlines_later();
}

void Loop::check_deadlines_later() {
  if (is_checking_deadlines_ || deadlines_.empty()) return;
  is_checking_deadlines_ = true;
  deadline_timer_.expires_after(deadline_step);
  deadline_timer_.async_wait([this](const boost::system::error_code& stopped) {
    if (stopped) return;
    is_checking_deadlines_ = false;
    const auto now = std::chrono::steady_clock::now();
    std::vector<std::shared_ptr<Wire>> due;
    for (const auto& [wire, deadline] : deadlines_) {
      if (deadline.at <= now) due.push_back(deadline.wire);
    }
    for (const auto& wire : due) clear_deadline(*wire);
    check_deadlines_later();
    call_each(due, [](Wire& wire) { wire.on_deadline(); });
  });
}

std::vector<std::shared_ptr<Wire>> Loop::dispensable(std::size_t count) const {
  std::vector<std::tuple<Wire::Claim, Time, Wire*>> candidates;
  for (const auto& [wire, deadline] : deadlines_) {
    if (wire->claim() != Wire::Claim::busy)
      candidates.emplace_back(wire->claim(), deadline.set, wire);
  }
  count = std::min(count, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count),
                    candidates.end());
  std::vector<std::shared_ptr<Wire>> wires;
  for (std::size_t i = 0; i < count; ++i)
    wires.push_back(std::get<Wire*>(candidates[i])->shared_from_this());
  return wires;
}

void Loop::count_unfinished(std::size_t bytes, std::size_t before) {
  unfinished_bytes_ += bytes - before;
  if (unfinished_bytes_ <= unfinished_bytes_max || is_dropping_unfinished_) return;
  is_dropping_unfinished_ = true;
  asio::post(context_, [this] { drop_unfinished(); });
}

void Loop::drop_unfinished() {
  is_dropping_unfinished_ = false;
  while (unfinished_bytes_ > unfinished_bytes_max)
    unfinished_.front()->drop("global limit for incomplete messages exceeded");
}

std::vector<std::shared_ptr<Wire>> Loop::with_deadline() const {
  std::vector<std::shared_ptr<Wire>> wires;
  for (const auto& [wire, deadline] : deadlines_) wires.push_back(deadline.wire);
  return wires;
}

}  // namespace sidekick::host
