// `--inspect`: shows live traffic to developers on this machine, in the page of the inspector. It
// listens on a port of its own and serves two things under a path that nobody can guess: the page,
// and the trace as Server-Sent Events. The server never waits for a reader.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inspect/inspect_address.hpp"
#include "inspect/inspect_session.hpp"
#include "log.hpp"
#include "net/acceptor.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

class Inspection final : private InspectTaker {
 public:
  /// What is inspected.
  struct Inspected {
    /// Returns the first lines of a reader: the trace of a hub with the same state. May throw.
    std::function<std::string()> snapshot;
    /// Makes the timer of the hub the same, too.
    std::function<void()> align_timer;
  };

  /// Listens. page: the HTML. Throws UsageError or StartError if it cannot.
  Inspection(Loop& loop, InspectAddress address, std::string page, Log& log);

  /// From now on there may be readers.
  void start(Inspected inspected);

  /// The address of the page.
  std::string url() const;

  /// lines: whole lines of the trace; copied.
  void write(Bytes lines);

  /// Sends as much as readers take at once, and ends.
  void close();

 private:
  void on_request(InspectSession& session, const Request& request) override;
  void on_taken(InspectSession& session) override { catch_up(session); }
  void on_gone(InspectSession& session) override;

  void accept();
  void take(Socket socket);
  unsigned refusal_of(const Request& request) const;
  bool is_ours(std::string_view host) const;
  unsigned short port() const { return acceptor_.local_endpoint().port(); }
  void read(InspectSession& session);
  void catch_up(InspectSession& session);
  void send();

  Loop& loop_;
  const InspectAddress address_;
  const std::string page_;
  Log& log_;
  const std::string path_;
  Acceptor acceptor_;
  Loop::Timer accept_retry_;
  Inspected inspected_;
  std::size_t connections_ = 0;
  std::vector<std::shared_ptr<InspectSession>> readers_;
  std::string unsent_;  ///< lines
  Loop::Timer send_timer_;
};

}  // namespace sidekick::host
