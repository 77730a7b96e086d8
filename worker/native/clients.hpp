// Maps client handles to sockets. Handles count up, so that the hub only appends to its sorted
// tables. A handle whose slot is taken is skipped, so that a lookup is a single probe.
#pragma once

#include <memory>
#include <vector>

#include "net/client_socket.hpp"

namespace sidekick::host {

class Clients {
 public:
  /// Returns a handle that is not in use.
  ClientId choose() {
    if (count_ * 2 >= places_.size()) grow();
    while (next_ == 0 || place(next_) != nullptr) ++next_;
    return next_++;
  }

  void add(std::shared_ptr<ClientSocket> socket) {
    place(socket->client) = std::move(socket);
    ++count_;
  }

  ClientSocket* find(ClientId client) {
    ClientSocket* socket = place(client).get();
    return socket != nullptr && socket->client == client ? socket : nullptr;
  }

  bool erase(ClientId client) {
    if (find(client) == nullptr) return false;
    place(client) = nullptr;
    --count_;
    return true;
  }

  std::size_t size() const { return count_; }

  /// All current clients, by handle.
  std::vector<std::shared_ptr<ClientSocket>> all() const;

 private:
  std::shared_ptr<ClientSocket>& place(ClientId client) {
    return places_[client & (places_.size() - 1)];
  }

  void grow() {
    auto before = std::move(places_);
    places_.assign(before.size() * 2, nullptr);
    for (auto& socket : before) {
      if (socket != nullptr) place(socket->client) = std::move(socket);
    }
  }

  std::vector<std::shared_ptr<ClientSocket>> places_ =
      std::vector<std::shared_ptr<ClientSocket>>(64);
  std::size_t count_ = 0;
  ClientId next_ = 1;
};

}  // namespace sidekick::host
