#include "timeline.hpp"

#include <nlohmann/json.hpp>

#include "members.hpp"
#include "sidekick/text.hpp"
#include "trace/printable.hpp"

namespace sidekick::trace {

namespace {

using nlohmann::json;

constexpr std::size_t shown_max = 100;

std::string sized(Bytes text) {
  return compose(
      {"(", Digits(text.size()), text.size() == 1 ? " byte) " : " bytes) ", shortened(text)});
}

std::string clients_of(const json& line) {
  const auto at = line.find("clients");
  if (at == line.end() || !at->is_array()) return "nobody";
  constexpr std::size_t named_max = 8;
  std::string text = at->size() == 1 ? "client" : compose({Digits(at->size()), " clients:"});
  for (std::size_t i = 0; i < at->size() && i < named_max; ++i)
    text += " " + shortened((*at)[i].dump());
  return at->size() > named_max ? text + " ..." : text;
}

/// ", shape": the code of an action, if it has one.
std::string code_of(const json& action, const char* name) {
  const auto at = action.find(name);
  return at != action.end() && at->is_string() ? ", " + shortened(at->get<std::string>()) : "";
}

template <class List, class ToText>
std::string shown_list(const List& list, ToText&& text_of_element) {
  constexpr std::size_t shown_elements_max = 8;
  std::string out;
  std::size_t count = 0;
  for (const auto& element : list) {
    if (++count <= shown_elements_max) out += " " + shortened(text_of_element(element));
  }
  if (count > shown_elements_max)
    out += compose({" and ", Digits(count - shown_elements_max), " more"});
  return out;
}

/// Of a LIST field.
std::string shown_list(const json& action, const char* name) {
  const auto at = action.find(name);
  if (at == action.end() || !at->is_array()) return "";
  return shown_list(*at, [](const json& element) {
    return element.is_string() ? element.get<std::string>() : element.dump();
  });
}

/// ", shard 2"; a Sidekick with one shard has only shard 0.
std::string shard_of(u64 shard) { return shard == 0 ? "" : compose({", shard ", Digits(shard)}); }

const char* name_of_outcome(u32 outcome) {
  switch (static_cast<Outcome>(outcome)) {
#define SIDEKICK_OUTCOME(name, number) \
  case Outcome::name:                  \
    return #name;
#include "sidekick/border.def"
  }
  return "ended in an unknown way";
}

const char* name_of_state(u64 state) {
  constexpr const char* names[] = {"free", "held", "subscribed"};
  return state < 3 ? names[state] : "in an unknown state";
}

}  // namespace

std::string shortened(Bytes text) { return printable(text, shown_max); }

std::string Timeline::time(Millis at) const {
  return at < start_ ? compose({"-", Digits(start_ - at), " ms"})
                     : compose({"+", Digits(at - start_), " ms"});
}

std::string Timeline::describe(Millis now, const Input& input) {
  if (start_ == 0) start_ = now;
  now_ = now;
  std::string text = time(now);
  text.append(text.size() < 10 ? 12 - text.size() : 2, ' ');
  switch (input.tag) {
    case InputTag::client_opened:
      return text + compose({"client ", Digits(input.client_opened.client), " opened"});
    case InputTag::client_frame:
      return text + compose({"client ", Digits(input.client_frame.client), " says ",
                             sized(input.client_frame.bytes)});
    case InputTag::client_closed:
      return text + compose({"client ", Digits(input.client_closed.client), " closed"});
    case InputTag::client_lagging:
      return text + compose({"client ", Digits(input.client_lagging.client), " does not read: ",
                             Digits(input.client_lagging.buffered_bytes), " bytes wait"});
    case InputTag::http_request: {
      const input::HttpRequest& in = input.http_request;
      return text + compose({"request ", Digits(in.request), ": ", shortened(in.method), " ",
                             shortened(in.path),
                             in.authorization.empty()                ? ", no bearer "
                             : in.authorization.ends_with(" replay") ? " "
                                                                     : ", a wrong bearer ",
                             sized(in.body)});
    }
    case InputTag::forward_done:
      if (input.forward_done.outcome != static_cast<u32>(Outcome::answered))
        return text + compose({"forward ", Digits(input.forward_done.forward), " ",
                               name_of_outcome(input.forward_done.outcome)});
      return text +
             compose({"forward ", Digits(input.forward_done.forward), " answered ",
                      Digits(input.forward_done.status), " ", sized(input.forward_done.body)});
    case InputTag::timer_fired:
      return text + "timer fired";
    case InputTag::restore_token:
      return text + compose({"token ", shortened(input.restore_token.key), " restored, ",
                             name_of_state(input.restore_token.state), " ",
                             sized(input.restore_token.record)});
    case InputTag::restore_client:
      return text + compose({"client ", Digits(input.restore_client.client), " restored ",
                             sized(input.restore_client.record)});
    case InputTag::shutting_down:
      return text + "shutting down";
    case InputTag::draining:
      return text + compose({"draining for ", Digits(input.draining.ms), " ms"});
    case InputTag::begin:
      return text + compose({"hub ", Digits(input.begin.epoch), " begins"});
    case InputTag::restored:
      return text + "restored";
    case InputTag::not_stored: {
      const input::NotStored& in = input.not_stored;
      if (in.client != 0)
        return text + compose({"not stored: a change of client ", Digits(in.client)});
      return text + compose({"not stored: request ", Digits(in.request),
                             in.key.empty() ? "" : ", token ", shortened(in.key)});
    }
    case InputTag::engine_up:
      end_calls(input.engine_up.shard);
      return text + compose({"engine up", shard_of(input.engine_up.shard),
                             input.engine_up.kept != 0 ? ", nothing missed" : ""});
    case InputTag::engine_down: {
      const std::size_t before = calls_.size();
      end_calls(input.engine_down.shard);
      const std::size_t count = before - calls_.size();
      return text + compose({"engine down", shard_of(input.engine_down.shard), ", ", Digits(count),
                             count == 1 ? " call" : " calls", " under way"});
    }
    case InputTag::engine_answer:
      return text + describe_answer(input.engine_answer);
    case InputTag::engine_message: {
      const input::EngineMessage& in = input.engine_message;
      return text +
             compose({"engine message ", in.topic.empty() ? "to this node" : shortened(in.topic),
                      shard_of(in.shard), " ", sized(in.body)});
    }
  }
  return text;
}

void Timeline::begin_call(const json& action, const std::string& name) {
  calls_[static_cast<u32>(number_of(action, "call"))] = {
      name, static_cast<u32>(number_of(action, "shard")), now_};
}

void Timeline::end_calls(u32 shard) {
  std::erase_if(calls_, [shard](const auto& call) { return call.second.shard == shard; });
}

std::string Timeline::describe_answer(const input::EngineAnswer& in) {
  std::string text = compose({"engine answers call ", Digits(in.call)});
  if (const auto at = calls_.find(in.call); at != calls_.end()) {
    const Millis since = at->second.at;
    text += compose(
        {" (", at->second.name, ") after ", Digits(now_ < since ? 0 : now_ - since), " ms"});
    calls_.erase(at);
  }
  text += in.status != 0 ? ", refused:" : in.values.empty() ? "" : ":";
  return text + shown_list(in.values, [](Bytes value) { return value; });
}

std::string Timeline::describe(const json& action) {
  const std::string name = text_of(action, "out");
  const auto expiry = [&] {
    return number_of(action, "state") == 0
               ? compose({" until ", time(number_of(action, "expires_at"))})
               : std::string();
  };
  const Digits client(number_of(action, "client"));
  if (name == "put_token" || name == "touch_token") {
    std::string text = compose({"-> token ", shortened(text_of(action, "key")),
                                name == "put_token" ? " stored, " : " is ",
                                name_of_state(number_of(action, "state")), expiry()});
    return name == "put_token" ? compose({text, " ", sized(text_of(action, "record"))}) : text;
  }
  if (name == "erase_token")
    return compose({"-> token ", shortened(text_of(action, "key")), " erased"});
  if (name == "attach_client") {
    return compose({"-> client ", client,
                    number_of(action, "append") == 0 ? "'s record " : "'s record goes on ",
                    sized(text_of(action, "record"))});
  }
  if (name == "send")
    return compose({"-> to ", clients_of(action), code_of(action, "code"), " ",
                    sized(text_of(action, "text"))});
  if (name == "respond") {
    const u64 delay = number_of(action, "delay_ms");
    return compose({"-> request ", Digits(number_of(action, "request")), " answered ",
                    Digits(number_of(action, "status")), code_of(action, "code"), " ",
                    sized(text_of(action, "body")), delay == 0 ? Bytes() : Bytes(", after "),
                    delay == 0 ? std::string() : compose({Digits(delay), " ms"})});
  }
  if (name == "engine_run" || name == "engine_join") {
    const std::string called =
        name == "engine_join" ? "join" : shortened(text_of(action, "script"));
    begin_call(action, called);
    return compose({"-> engine call ", Digits(number_of(action, "call")), ": ", called,
                    shown_list(action, name == "engine_join" ? "topics" : "args"),
                    shard_of(number_of(action, "shard"))});
  }
  if (name == "engine_leave")
    return compose(
        {"-> engine: leave", shown_list(action, "topics"), shard_of(number_of(action, "shard"))});
  if (name == "forward")
    return compose({"-> forward ", Digits(number_of(action, "forward")), " to the app server ",
                    sized(text_of(action, "body"))});
  if (name == "cancel_forward")
    return compose({"-> forward ", Digits(number_of(action, "forward")), " cancelled"});
  if (name == "close")
    return compose({"-> client ", client, " closed, ", Digits(number_of(action, "code")),
                    code_of(action, "why"), ": ", shortened(text_of(action, "reason"))});
  if (name == "set_timer") return compose({"-> timer set to ", time(number_of(action, "at_ms"))});
  return compose({"-> ", shortened(action.dump())});
}

}  // namespace sidekick::trace
