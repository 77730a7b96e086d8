// The floor for fan-out: one send(2) of a ready frame per subscriber, in a bare loop. It understands just enough of its
// input for the same load generator to drive it, and nothing of the protocol: floor_cpp PORT.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using std::string;
using std::string_view;

std::vector<int> subscribers;

void put(int fd, string_view bytes) {
  if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(bytes.size()))
    std::fprintf(stderr, "floor_cpp: a write did not go out whole\n");
}

string frame_of(string_view text) {
  string frame = "\x81";
  if (text.size() < 126) return frame + char(text.size()) + string(text);
  return frame + char(126) + char(text.size() >> 8) + char(text.size() & 255) + string(text);
}

void on_bytes(int fd, string_view bytes) {
  if (bytes.starts_with("GET ")) {
    put(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  } else if (bytes.starts_with("POST ")) {
    if (bytes.starts_with("POST /message")) {
      static string frame = frame_of(R"({ "type": "message", "data": "#)" + string(200 - 34, 'x') + "\" }");
      frame.replace(frame.find('#'), 9, bytes.substr(bytes.find('#'), 9));
      for (const int subscriber : subscribers) put(subscriber, frame);
    }
    put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
  } else if ((bytes[0] & 15) == 8) {
    std::erase(subscribers, fd);
    close(fd);
  } else {
    subscribers.push_back(fd);
    put(fd, frame_of(R"({ "type": "subscribed" })"));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: floor_cpp PORT\n"), 2;
  const int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 511) != 0)
    return std::perror("floor_cpp: listen"), 1;
  auto watch = [&](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener);
  static char buffer[64 * 1024];
  epoll_event events[256];
  while (true) {
    const int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = accept(listener, nullptr, nullptr);
        if (accepted < 0) continue;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(accepted);
        continue;
      }
      const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
      if (size > 0) on_bytes(fd, string_view(buffer, size_t(size)));
      else close(fd);
    }
  }
}
