#include "random_talk.hpp"

#include <sstream>

#include "sidekick/text.hpp"

namespace sidekick::test {

namespace {

constexpr Bytes names[] = {"a", "b", "c", "d", "e", "f"};
constexpr Bytes scopes[] = {R"("channel":"x","params":{})", R"("channel":"x","params":{"k":"1"})",
                            R"("channel":"y","params":{"k":"1","j":"2"})"};

std::string random_resources(Random& random) {
  std::string out = "[";
  for (u32 i = random.below(4); i > 0; --i)
    out += compose({out.size() > 1 ? "," : "", "\"r", Digits(random.below(5)), "\""});
  return out + "]";
}

std::string random_frame(Random& random) {
  const Bytes token = names[random.below(6)];
  switch (random.below(8)) {
    case 0:
    case 1:
      return compose({"{\"type\":\"subscribe\",\"token\":\"", token, "\"}"});
    case 2:
      return compose({"{\"type\":\"unsubscribe\",\"token\":\"", token, "\"}"});
    case 3:
    case 4: {
      // Mostly the scope of the token: see random_step.
      const Bytes scope =
          scopes[random.one_in(4) ? random.below(3) : static_cast<u32>(token[0] - 'a') % 3];
      return compose({"{\"type\":\"send\",\"token\":\"", token, "\",", scope,
                      ",\"data\":", Digits(random.below(100)), "}"});
    }
    case 5:
      return compose({"{\"type\":\"listen\",\"resources\":", random_resources(random), "}"});
    case 6:
      return compose({"{\"type\":\"unlisten\",\"resources\":", random_resources(random), "}"});
    default:
      return random.one_in(2) ? R"({"type":"ping"})" : R"({"type":"shout"})";
  }
}

std::string normal(const std::string& actions) {
  std::string out;
  std::istringstream stream(actions);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("set_timer")) continue;
    if (line.starts_with("forward ")) line = "forward " + line.substr(line.find(' ', 8) + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace

TalkStep random_step(Random& random, const std::set<ClientId>& open) {
  const ClientId client = 1 + random.below(4);
  const bool is_open = open.contains(client);
  switch (random.below(12)) {
    case 0:
      if (is_open) return {TalkStep::Kind::close, client, {}, {}, 0};
      [[fallthrough]];
    case 1:
    case 2:
      if (!is_open) return {TalkStep::Kind::open, client, {}, {}, 0};
      [[fallthrough]];
    case 3:
    case 4:
    case 5:
    case 6:
      return {TalkStep::Kind::frame, client, {}, random_frame(random), 0};
    case 7:
    case 8: {
      const u32 token = random.below(6);
      const std::string context =
          random.one_in(3) ? "" : compose({",\"context\":{\"n\":", Digits(random.below(9)), "}"});
      return {TalkStep::Kind::post, 0, "/connection",
              compose({"{\"token\":\"", names[token], "\",", scopes[token % 3], context, "}"}), 0};
    }
    case 9:
      if (random.one_in(2))
        return {TalkStep::Kind::post, 0, "/resources",
                compose({"{\"resources\":", random_resources(random), "}"}), 0};
      return {TalkStep::Kind::post, 0, "/message",
              compose({"{", scopes[random.below(3)], ",\"data\":", Digits(random.below(100)), "}"}),
              0};
    case 10: {
      constexpr u32 statuses[] = {204, 400, 500, 0};
      return {TalkStep::Kind::answer,
              0,
              {},
              R"({ "fault": "client", "message": "no" })",
              statuses[random.below(4)]};
    }
    default:
      return {TalkStep::Kind::wait, 0, {}, {}, random.below(700)};
  }
}

std::string take(TalkHost& host, const TalkStep& step) {
  Scenario& scenario = host.scenario;
  std::string out;
  switch (step.kind) {
    case TalkStep::Kind::open:
      out = scenario.open(step.client);
      break;
    case TalkStep::Kind::close:
      out = scenario.close(step.client);
      break;
    case TalkStep::Kind::frame:
      out = scenario.frame(step.client, step.text);
      break;
    case TalkStep::Kind::post:
      out = scenario.post(step.path, step.text);
      break;
    case TalkStep::Kind::answer:
      if (host.in_flight.empty()) return {};
      out = scenario.forward_done(host.in_flight.front(), step.number, step.text);
      host.in_flight.pop_front();
      break;
    case TalkStep::Kind::wait:
      scenario.after(step.number);
      out = scenario.timer();
      break;
  }
  for (const Action& action : scenario.actions()) {
    if (action.tag == ActionTag::forward) host.in_flight.push_back(action.forward.forward);
  }
  return normal(out);
}

void drain(TalkHost& host) {
  while (!host.in_flight.empty()) take(host, {TalkStep::Kind::answer, 0, {}, {}, 204});
}

std::set<ClientId> open_clients(const TalkHost& host) {
  std::set<ClientId> open;
  for (const auto& [client, record] : host.scenario.client_rows()) open.insert(client);
  return open;
}

}  // namespace sidekick::test
