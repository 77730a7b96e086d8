// Each cell of the table of token states: what may happen in each state, and what becomes of it.
#include <doctest/doctest.h>

#include <string>

#include "sidekick/text.hpp"
#include "tables/token_states.hpp"

namespace {

using namespace sidekick;

constexpr Bytes state_names[] = {
#define SIDEKICK_TOKEN_STATE(name, stored, meaning) #name,
#include "tables/token_states.def"
};

/// Written by hand, from docs/protocol.md: a state, then what each event makes of it.
constexpr Bytes expected =
    "                 take  subscribe   release  claim       pass        erase  add   add_held   "
    "add_subscribed\n"
    "free             held  -           -        -           -           gone   -     -          "
    "-\n"
    "held             -     subscribed  free     -           held        gone   -     -          "
    "-\n"
    "subscribed       -     -           free     -           subscribed  gone   -     -          "
    "-\n"
    "away_held        -     -           free     held        -           gone   -     -          "
    "-\n"
    "away_subscribed  -     -           free     subscribed  -           gone   -     -          "
    "-\n"
    "gone             -     -           -        -           -           -      free  away_held  "
    "away_subscribed"
    "\n";

TEST_CASE("every event in every state of a token is in the table, or impossible") {
  static constexpr std::size_t columns[] = {17, 23, 35, 44, 56, 68, 75, 81, 92};
  std::string table(expected.substr(0, expected.find('\n') + 1));
  for (u32 state = 0; state < token_state_count; ++state) {
    std::string line(state_names[state]);
    for (u32 event = 0; event < token_event_count; ++event) {
      line.resize(columns[event], ' ');
      const u8 to = token_step_table.to[state][event];
      line += to == TokenStepTable::impossible ? Bytes("-") : state_names[to];
    }
    table += line + "\n";
  }
  CHECK(table == expected);
}

TEST_CASE("no event stands twice in one state") {
  for (const TokenStep& step : token_steps) {
    CHECK(next_state(step.from, step.event) == step.to);
  }
}

TEST_CASE("a stored state is that of the token, whoever held it before a restart") {
  CHECK(stored_state(TokenState::free) == 0);
  CHECK(stored_state(TokenState::held) == 1);
  CHECK(stored_state(TokenState::subscribed) == 2);
  CHECK(stored_state(TokenState::away_held) == stored_state(TokenState::held));
  CHECK(stored_state(TokenState::away_subscribed) == stored_state(TokenState::subscribed));
}

}  // namespace
