#include "swarm.hpp"

#include <algorithm>

#include "sidekick/text.hpp"

namespace sidekick::sim {

namespace {

/// One limit in so many is tiny; the others keep their default.
void draw_limits(Dice& dice, const Swarm& swarm, Config& config) {
  const u32 tiny = dice.one_of<u32>({0, 150, 400, 700});
  const auto draw = [&](u32& limit, u32 lowest, u32 highest) {
    const u32 value = dice.between(lowest, highest);
    if (dice.chance(tiny)) limit = value;
  };
  draw(config.frame_bytes_max, 100, 400);
  draw(config.http_body_bytes_max, 120, 500);
  draw(config.depth_max, 6, 12);
  draw(config.resources_per_message_max, 1, 6);
  draw(config.topics_per_client_max, 1, 8);
  draw(config.topic_bytes_per_client_max, 64, 200);
  draw(config.topic_store_bytes_max, 1024, 4096);
  draw(config.tokens_per_client_max, 1, 3);
  draw(config.token_bytes_max, 16, 40);
  draw(config.channel_bytes_max, 4, 16);
  draw(config.params_max, 1, 3);
  draw(config.param_name_bytes_max, 4, 12);
  draw(config.param_value_bytes_max, 1, 12);
  draw(config.resource_bytes_max, 4, 16);
  draw(config.clients_max, 1, swarm.clients);
  draw(config.tokens_max, 1, swarm.tokens);
  draw(config.token_store_bytes_max, 1024, 8192);
  draw(config.forwards_waiting_max, 1, 4);
  draw(config.forward_bytes_per_token_max, 1024, 2048);
  draw(config.forward_store_bytes_max, 1024, 4096);
  draw(config.forward_answer_bytes_max, 64, 128);
  draw(config.client_buffer_bytes_max, 1024, 4096);
  if (config.client_buffer_bytes_max < config.http_body_bytes_max * 2)
    config.client_buffer_bytes_max = config.http_body_bytes_max * 2;
  config.auth_failure_delay_ms = dice.one_of<u32>({0, 3000});
}

void draw_times(Dice& dice, Config& config) {
  config.token_ttl_ms = dice.one_of<u32>({1, 20, 500, 5000, 300000});
  config.token_resume_ms = dice.one_of<u32>({0, 1, 20, 500, 60000});
  config.forward_timeout_ms = dice.one_of<u32>({1, 20, 500, 30000});
  config.forward_concurrent = dice.chance(200) ? 1 : 0;
  if (dice.chance(150)) {
    config.frames_per_second = dice.one_of<u32>({1, 100, 5000});
    config.frames_burst = dice.one_of<u32>({1, 5, 50});
  }
}

void draw_spans(Dice& dice, Swarm& swarm) {
  swarm.span_max_ms = dice.one_of<u32>({0, 1, 3, 20});
  swarm.jump_max_ms = dice.one_of<u32>({10, 1000, 100000});
}

/// Each rate is zero, unchanged, or much higher.
void draw_rates(Dice& dice, Swarm& swarm) {
  const auto vary = [&](u32 usual) { return usual * dice.one_of<u32>({0, 1, 1, 1, 4}); };
  const auto essential = [&](u32 usual) { return usual * dice.one_of<u32>({1, 1, 2, 5}) / 2; };
  constexpr u32 ops[] = {40, 12, 500, 3, 160, 110, 30, 4, 0, 3};
  for (u32 i = 0; i < std::size(ops); ++i) swarm.op_weight[i] = vary(ops[i]);
  swarm.op_weight[0] = essential(ops[0]);
  swarm.op_weight[2] = essential(ops[2]);
  swarm.op_weight[4] = essential(ops[4]);
  swarm.op_weight[8] = dice.chance(50) ? 1 : 0;
  if (dice.chance(600)) swarm.op_weight[9] = 0;  // a twin costs as much as the hub itself
  constexpr u32 frames[] = {120, 60, 250, 80, 60, 30};
  for (u32 i = 0; i < std::size(frames); ++i) swarm.frame_weight[i] = vary(frames[i]);
  swarm.frame_weight[0] += 1;
  constexpr u32 requests[] = {100, 60, 80, 15};
  for (u32 i = 0; i < std::size(requests); ++i) swarm.http_weight[i] = vary(requests[i]);
  swarm.http_weight[0] += 10;
  constexpr u32 replies[] = {100, 20, 10, 5, 4, 4, 4, 4, 4, 4, 4, 10, 10, 4, 4, 4};
  static_assert(std::size(replies) == static_cast<u32>(Reply::count));
  for (u32 i = 0; i < std::size(replies); ++i) swarm.reply_weight[i] = vary(replies[i]);
  swarm.reply_weight[0] += 1;
  constexpr u32 restarts[] = {50, 10, 20, 20};
  for (u32 i = 0; i < std::size(restarts); ++i) swarm.restart_weight[i] = vary(restarts[i]);
  swarm.restart_weight[0] += 1;
  swarm.flaw = vary(30);
  swarm.gate = vary(30);
  swarm.attack = vary(120);
  swarm.cut = vary(3);
  swarm.fail = vary(5);
  swarm.knock_flaw = vary(30);
  swarm.burst = vary(60);
  swarm.burst_max = dice.one_of<u32>({2, 8, 40});
  swarm.time_back = vary(5);
  swarm.timer_late = dice.one_of<u32>({0, 200, 900});
  swarm.jump = vary(20);
  swarm.odd_timer = vary(20);
  swarm.payload_max = dice.one_of<u16>({8, 64, 64, 300, 1000});
}

void draw_size(Dice& dice, Swarm& swarm) {
  const u32 size = dice.below(100);
  if (size < 50) {
    swarm.clients = static_cast<u16>(dice.between(2, 5));
    swarm.tokens = static_cast<u16>(dice.between(2, 9));
    swarm.scopes = static_cast<u16>(dice.between(1, 4));
    swarm.resources = static_cast<u16>(dice.between(1, 8));
  } else if (size < 95) {
    swarm.clients = static_cast<u16>(dice.between(6, 24));
    swarm.tokens = static_cast<u16>(dice.between(8, 60));
    swarm.scopes = static_cast<u16>(dice.between(2, 12));
    swarm.resources = static_cast<u16>(dice.between(4, 40));
  } else if (size == 99) {
    swarm.clients = static_cast<u16>(dice.between(500, 1500));
    swarm.tokens = static_cast<u16>(dice.between(1000, 3000));
    swarm.scopes = static_cast<u16>(dice.between(4, 100));
    swarm.resources = static_cast<u16>(dice.between(30, 500));
  } else {
    swarm.clients = static_cast<u16>(dice.between(60, 150));
    swarm.tokens = static_cast<u16>(dice.between(100, 300));
    swarm.scopes = static_cast<u16>(dice.between(4, 40));
    swarm.resources = static_cast<u16>(dice.between(30, 200));
  }
}

/// An app server that stalls while tokens come and go: hardly a message finds room, and rejected
/// ones must leave nothing behind.
void hang(Swarm& swarm) {
  for (Config& config : swarm.configs) {
    config.forward_store_bytes_max = 1024;
    config.forward_timeout_ms = 30000;
    config.token_ttl_ms = 20;
    config.token_resume_ms = 0;
  }
  swarm.op_weight[static_cast<u32>(OpKind::answer)] = 0;
  swarm.op_weight[static_cast<u32>(OpKind::http)] += 200;
  swarm.frame_weight[static_cast<u32>(Verb::send)] += 500;
  swarm.payload_max = 300;
}

/// From dice of its own: worlds without clients that say hello are what they were before.
void draw_extension(Dice dice, Swarm& swarm) {
  swarm.sessions = static_cast<u16>(std::max(1, swarm.clients / dice.one_of<u16>({1, 2, 4})));
  swarm.greeting = dice.one_of<u32>({0, 0, 500, 900, 1000});
  if (swarm.greeting == 0) return;
  swarm.clock_step = dice.one_of<u32>({0, 0, 2, 10});
  swarm.since = dice.one_of<u32>({0, 600, 900});
  swarm.again = dice.one_of<u32>({0, 200, 500});
  const u32 tiny = dice.one_of<u32>({0, 300, 700});
  for (Config& config : swarm.configs) {
    const auto draw = [&](u32& limit, u32 lowest, u32 highest) {
      const u32 value = dice.between(lowest, highest);
      if (dice.chance(tiny)) limit = value;
    };
    draw(config.change_log_bytes_max, 0, 700);
    draw(config.history_messages_max, 0, 4);
    draw(config.history_bytes_max, 0, 3000);
    config.change_log_ms = dice.one_of<u32>({0, 1, 500, 3600000});
    config.history_ms = dice.one_of<u32>({0, 1, 20, 500, 60000});
    if (dice.chance(200)) config.listen_lookback_ms = dice.one_of<u32>({1, 100, 60000});
  }
}

}  // namespace

u64 draw_epoch(Dice& dice) {
  constexpr u64 forwards_max = u64{1} << 32;
  return forwards_max + dice.next() % (number_max - 2 * forwards_max);
}

Swarm draw_swarm(u64 seed, u32 steps) {
  Dice dice(seed);
  Swarm swarm;
  swarm.seed = seed;
  draw_size(dice, swarm);
  Config& config = swarm.configs[0];
  for (const Bytes secret : secrets) config.secrets.emplace_back(secret);
  config.hash_seed = dice.next();
  draw_limits(dice, swarm, config);
  draw_times(dice, config);
  swarm.configs[1] = config;
  if (dice.chance(300)) draw_limits(dice, swarm, swarm.configs[1]);
  if (dice.chance(300)) draw_times(dice, swarm.configs[1]);
  for (u32 i = 0; i < 2; ++i) {
    if (dice.chance(300)) swarm.allowed_origins[i] = static_cast<u8>(dice.between(1, 7));
    for (u32 bit = 0; bit < std::size(allowed_origins); ++bit) {
      if ((swarm.allowed_origins[i] >> bit & 1) != 0)
        swarm.configs[i].allowed_origins.emplace_back(allowed_origins[bit]);
    }
  }
  draw_spans(dice, swarm);
  draw_rates(dice, swarm);
  swarm.steps = steps != 0 ? steps : dice.one_of<u32>({500, 2000, 5000, 10000});
  // Ids of forwards follow from the epoch and wrap around.
  swarm.epoch = dice.chance(100) ? number_max - dice.below(4) : draw_epoch(dice);
  swarm.reuses_handles = dice.chance(600);
  swarm.has_odd_names = dice.chance(600);
  swarm.deep_every = dice.one_of<u32>({32, 256, 1024});
  swarm.is_long = dice.chance(100);
  draw_extension(Dice(seed ^ 0x68656c6c6f), swarm);
  // From dice of its own, too.
  if (!swarm.is_long) swarm.drain = Dice(seed ^ 0x647261696e).one_of<u32>({0, 0, 0, 0, 1, 5});
  if (swarm.clients >= 500) {
    // Long enough to fill it; deep checks are rare.
    swarm.steps = steps != 0 ? steps : 20000;
    swarm.deep_every = 4096;
    swarm.op_weight[1] /= 4;
    swarm.op_weight[7] = std::min(swarm.op_weight[7], 1u);
    swarm.cut = 0;
    swarm.is_long = false;
  }
  if (swarm.is_long) swarm.op_weight[7] = swarm.cut = 0;  // one hub from start to end
  if (swarm.is_long && dice.chance(300)) hang(swarm);
  return swarm;
}

std::string Swarm::describe() const {
  std::string out =
      compose({Digits(clients), " clients, ", Digits(tokens), " tokens, ", Digits(scopes),
               " channels, ", Digits(resources), " resources, ", Digits(steps), " steps; limits:"});
  const Config usual;
  for (const LimitEntry& limit : limits) {
    const u32 one = configs[0].*limit.value;
    const u32 other = configs[1].*limit.value;
    if (one == usual.*limit.value && other == one) continue;
    out += compose({" ", limit.name, " ", Digits(one)});
    if (other != one) out += compose({" or ", Digits(other)});
  }
  if (greeting != 0) out += compose({"; greeting ", Digits(greeting)});
  if (drain != 0) out += compose({"; drain ", Digits(drain)});
  out += "; weights:";
  for (u32 i = 0; i < std::size(op_weight); ++i)
    out += compose({" ", op_names[i], " ", Digits(op_weight[i])});
  return out;
}

}  // namespace sidekick::sim
