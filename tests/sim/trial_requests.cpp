// Requests as a host passes them: admission first, then the body if it is asked for; and the
// answers, which may come in any later call.
#include <algorithm>

#include "rescue.hpp"
#include "script.hpp"
#include "sidekick/text.hpp"
#include "sidekick/trace.hpp"
#include "trial.hpp"

namespace sidekick::sim {

/// A client asks for its socket. `serial` decides about the spelling.
std::optional<Input> Trial::knock(const Op& op) {
  static constexpr Bytes targets[] = {"/socket", "/socket?a=/message", "ws://host/socket",
                                      "wss://host:1/socket#x"};
  static constexpr Bytes wrong_methods[] = {"POST", "get", "HEAD", ""};
  if (op.knock != Knock::admitted_before) {
    write_knock(bytes_, op);
    input::HttpRequest http{++request_, 0, "GET", "", "", "", bytes_};
    http.path = targets[op.serial % std::size(targets)];
    if ((op.knock_flaws & wrong_socket_method) != 0)
      http.method = wrong_methods[op.serial % std::size(wrong_methods)];
    if ((op.knock_flaws & upgrade_with_body) != 0 && op.serial % 2 != 0) http.body_bytes = 1;
    if (!ask(op, http)) return std::nullopt;
    if (model_.admission(op).kind != VerdictKind::socket || op.knock == Knock::not_accepted)
      return http;
  }
  sockets_[op.client] = 1;
  records_[op.client].clear();
  ++generations_[op.client];
  model_.set_handle(op.client, handle_of(op.client));
  return input::ClientOpened{handle_of(op.client)};
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
  const bool is_probe = sim::is_probe(op.verb);
  const Bytes wrong_methods[] = {"PUT", is_probe ? "get" : "post", "", is_probe ? "POST" : "HEAD",
                                 is_probe ? "OPTIONS" : "GET"};
  static constexpr Bytes paths[3][5] = {
      {"/connection", "/resources", "/message", "/health", "/ready"},
      {"/connection?a=/message", "/resources?", "/message#x", "/health?x", "/ready#"},
      {"http://host/connection", "https://host:1/resources?x", "http://h/message", "http:///health",
       "https://h/ready?"}};
  if (is_probe) bytes_.clear();
  // An upgrade that the path does not offer is ignored.
  static constexpr Bytes headers[] = {"", "", "", "Upgrade: h2c\nConnection: Upgrade\n",
                                      "Upgrade: websocket\nOrigin: https://evil.example\n"};
  input::HttpRequest http{++request_,
                          0,
                          !is_probe            ? "POST"
                          : op.serial % 3 == 0 ? "HEAD"
                                               : "GET",
                          "",
                          "Bearer the-secret",
                          bytes_,
                          headers[op.serial % std::size(headers)]};
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
      http.headers = "";
      break;
    case Gate::too_large:
      http.body = "";
      http.body_bytes = config().http_body_bytes_max + 1;
      break;
    case Gate::count:
      trap();
  }
  if (http.body_bytes == 0) http.body_bytes = static_cast<u32>(http.body.size());
  input::HttpRequest asked = http;
  if (op.serial % 2 == 0) asked.body_bytes = 0;  // not declared
  ask(op, asked);
  // A host reads only as much of a body as the hub asks for.
  const Admission admission = model_.admission(op);
  if (admission.kind != VerdictKind::body || http.body.size() > admission.body_bytes_max)
    http.body = "";
  return http;
}

/// Asks for the verdict and compares it with the model's.
bool Trial::ask(const Op& op, const input::HttpRequest& request) {
  input::HttpRequest asked = request;
  asked.body = "";
  const Admission demanded = model_.admission(op);
  const auto is_demanded = [&](const Hub& hub) {
    const Verdict came = hub.admit(asked);
    return came.kind == demanded.kind && came.body_bytes_max == demanded.body_bytes_max &&
           came.protocol == demanded.protocol;
  };
  bool is_right = false;
  if (!survives([&] { is_right = is_demanded(*hub_); })) return lose_hub("a trap in admit");
  if (is_right && (twin_ == nullptr || is_demanded(*twin_))) return true;
  const auto tell = [](VerdictKind kind, u32 bytes, Bytes protocol) {
    return compose({"verdict ", Digits(static_cast<u32>(kind)), ", a body of ", Digits(bytes),
                    " bytes, protocol ", protocol});
  };
  const Verdict came = (is_right ? *twin_ : *hub_).admit(asked);
  return fail(is_right                           ? Checker::restore_same
              : demanded.code == ErrorCode::full ? Checker::limits
                                                 : Checker::admitted,
              tell(demanded.kind, demanded.body_bytes_max, demanded.protocol),
              tell(came.kind, came.body_bytes_max, came.protocol));
}

bool Trial::check_respond(const Action& action) {
  const u32 request = action.respond.request;
  if (Effect* effect = find(EffectKind::respond, request)) {
    const Answer demanded{effect->status, effect->code, effect->header, model_.text_of(*effect)};
    return check_answer(action, demanded) && meet(*effect);
  }
  const auto late = std::find_if(open_requests_.begin(), open_requests_.end(),
                                 [&](const OpenRequest& it) { return it.request == request; });
  if (late == open_requests_.end())
    return fail(Checker::answered_once, "no answer but to an open request", show(action));
  if (!check_answer(action, {late->status, late->code, late->header, late->text})) return false;
  open_requests_.erase(late);
  return true;
}

bool Trial::check_answer(const Action& action, const Answer& demanded) {
  const action::Respond& respond = action.respond;
  const u32 delay_ms = respond.status == 401 ? config().auth_failure_delay_ms : 0;
  const Bytes content_type =
      demanded.text.starts_with('{') ? "application/json" : "text/plain; charset=utf-8";
  const bool is_text_right =
      respond.status == demanded.status && matches(demanded.text, respond.body, false);
  const bool is_right = is_text_right && respond.delay_ms == delay_ms &&
                        respond.header == demanded.header && respond.content_type == content_type;
  if (is_right && respond.code == demanded.code) return true;
  const std::string came = show(action);
  const Checker checker = is_right                                  ? Checker::codes
                          : is_text_right                           ? Checker::answers
                          : came.find("_max)") != std::string::npos ? Checker::limits
                                                                    : blame(Checker::answers);
  return fail(checker,
              compose({"respond status ", Digits(demanded.status), " ", demanded.text, " with ",
                       demanded.header, ", code ", name_of(demanded.code)}),
              came);
}

/// Of an effect whose answer has not come in its own call.
void Trial::keep_open(const Effect& effect) {
  open_requests_.push_back(
      {effect.who, effect.status, effect.code, effect.header, std::string(model_.text_of(effect))});
}

bool Trial::check_answered() {
  if (open_requests_.empty()) return true;
  const OpenRequest& open = open_requests_.front();
  return fail(Checker::answered_once,
              compose({"an answer to request ", Digits(open.request), ": ", open.text}), "none");
}

}  // namespace sidekick::sim
