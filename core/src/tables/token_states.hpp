// The states of a token as data: token_states.def.
#pragma once

#include <iterator>

#include "sidekick/base.hpp"

namespace sidekick {

enum class TokenState : u8 {
#define SIDEKICK_TOKEN_STATE(name, stored, meaning) name,
#include "tables/token_states.def"
};

enum class TokenEvent : u8 {
  take,
  subscribe,
  release,
  claim,
  pass,
  erase,
  add,
  add_held,
  add_subscribed
};
inline constexpr u32 token_event_count = static_cast<u32>(TokenEvent::add_subscribed) + 1;

struct TokenStep {
  TokenState from;
  TokenEvent event;
  TokenState to;
};

inline constexpr TokenStep token_steps[] = {
#define SIDEKICK_TOKEN_STEP(from, event, to, when) \
  {TokenState::from, TokenEvent::event, TokenState::to},
#include "tables/token_states.def"
};

inline constexpr u8 stored_token_states[] = {
#define SIDEKICK_TOKEN_STATE(name, stored, meaning) stored,
#include "tables/token_states.def"
};
inline constexpr u32 token_state_count = std::size(stored_token_states);

/// The number that a host stores for this state.
constexpr u32 stored_state(TokenState state) { return stored_token_states[static_cast<u8>(state)]; }

struct TokenStepTable {
  static constexpr u8 impossible = 0xFF;

  constexpr TokenStepTable() {
    for (auto& row : to)
      for (u8& cell : row) cell = impossible;
    for (const TokenStep& step : token_steps)
      to[static_cast<u8>(step.from)][static_cast<u8>(step.event)] = static_cast<u8>(step.to);
  }

  u8 to[token_state_count][token_event_count];
};
inline constexpr TokenStepTable token_step_table;

/// Traps if the event cannot happen in this state.
constexpr TokenState next_state(TokenState state, TokenEvent event) {
  const u8 to = token_step_table.to[static_cast<u8>(state)][static_cast<u8>(event)];
  SIDEKICK_CHECK(to != TokenStepTable::impossible);
  return static_cast<TokenState>(to);
}

/// Whether a client holds it.
constexpr bool is_held(TokenState state) {
  return state == TokenState::held || state == TokenState::subscribed;
}

/// Whether it waits for its holder to be restored.
constexpr bool is_away(TokenState state) {
  return state == TokenState::away_held || state == TokenState::away_subscribed;
}

}  // namespace sidekick
