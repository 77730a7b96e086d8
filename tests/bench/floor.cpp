// The floor in C++: one send(2) of a ready frame per subscriber, one recv(2) and one send(2) per
// request, in a bare loop. It parses just enough input for the same load generator to drive it, and
// implements nothing of the protocol: floor_cpp PORT APP_SERVER_PORT.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

using std::string;
using std::string_view;

const int on = 1;
int epoll = -1;
std::uint16_t app_port = 0;
std::vector<int> subscribers;
std::unordered_map<string, int> listeners;
std::unordered_set<int> apps;
std::vector<int> idle_apps;

void put(int fd, string_view bytes) {
  if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) !=
      static_cast<ssize_t>(bytes.size()))
    std::fprintf(stderr, "floor_cpp: a write was incomplete\n");
}

void watch(int fd) {
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

string frame_of(string_view text) {
  string frame = "\x81";
  if (text.size() < 126) return frame + char(text.size()) + string(text);
  return frame + char(126) + char(text.size() >> 8) + char(text.size() & 255) + string(text);
}

/// Calls `then` with each resource that `text` names.
template <class Then>
void each_resource(string_view text, Then then) {
  for (size_t at = text.find("\"todo/"); at != string_view::npos; at = text.find("\"todo/", at)) {
    const size_t end = text.find('"', at + 1);
    then(text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
}

void on_post(int fd, string_view bytes) {
  if (bytes.starts_with("POST /message")) {
    static string frame =
        frame_of(R"({ "type": "message", "data": "#)" + string(200 - 34, 'x') + "\" }");
    frame.replace(frame.find('#'), 9, bytes.substr(bytes.find('#'), 9));
    for (const int subscriber : subscribers) put(subscriber, frame);
  } else if (bytes.starts_with("POST /resources")) {
    each_resource(bytes, [](string_view resource) {
      const auto found = listeners.find(string(resource));
      if (found != listeners.end())
        put(found->second,
            frame_of(R"({ "type": "updated", "resource": ")" + string(resource) + "\" }"));
    });
  }
  put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
}

void forward(string_view text) {
  if (idle_apps.empty()) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(app_port);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return std::perror("floor_cpp: connect");
    watch(fd);
    apps.insert(fd);
    idle_apps.push_back(fd);
  }
  const int fd = idle_apps.back();
  idle_apps.pop_back();
  put(fd, "POST /api/covenant HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " +
              std::to_string(text.size()) + "\r\n\r\n" + string(text));
}

void on_frame(int fd, char* bytes, size_t size) {
  if ((bytes[0] & 15) == 8) {
    std::erase(subscribers, fd);
    std::erase_if(listeners, [&](const auto& listener) { return listener.second == fd; });
    close(fd);
    return;
  }
  const size_t start = (bytes[1] & 127) == 126 ? 8 : 6;
  for (size_t i = start; i < size; ++i)
    bytes[i] = char(bytes[i] ^ bytes[start - 4 + (i - start) % 4]);
  const string_view text(bytes + start, size - start);
  if (text.starts_with(R"({"type":"subscribe")")) {
    subscribers.push_back(fd);
    put(fd, frame_of(R"({ "type": "subscribed" })"));
  } else if (text.starts_with(R"({"type":"listen")")) {
    each_resource(text, [&](string_view resource) { listeners.emplace(resource, fd); });
    put(fd, frame_of(R"({ "type": "listening" })"));
  } else {
    forward(text);
  }
}

void on_bytes(int fd, char* bytes, size_t size) {
  const string_view text(bytes, size);
  if (apps.contains(fd))
    idle_apps.push_back(fd);  // its answer
  else if (text.starts_with("GET "))
    put(fd,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  else if (text.starts_with("POST "))
    on_post(fd, text);
  else
    on_frame(fd, bytes, size);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: floor_cpp PORT APP_SERVER_PORT\n"), 2;
  app_port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  epoll = epoll_create1(0);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(static_cast<std::uint16_t>(std::atoi(argv[1])));
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 511) != 0)
    return std::perror("floor_cpp: listen"), 1;
  watch(listener);
  static char buffer[64 * 1024];
  epoll_event events[256];
  while (true) {
    const int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = accept(listener, nullptr, nullptr);
        if (accepted >= 0) watch(accepted);
        continue;
      }
      const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
      if (size > 0)
        on_bytes(fd, buffer, size_t(size));
      else
        close(fd);
    }
  }
}
