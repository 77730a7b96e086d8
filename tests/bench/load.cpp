// The load generator of scripts/bench: raw sockets, one thread, one epoll. It plays all clients,
// and the app server at both its ends (POSTs in, forwards out), and reads the CPU clock of the
// server it drives before and after each measured stretch.
//
// It takes one command per line on stdin and answers each with one line of JSON; the end of stdin
// ends it. A server that answers anything unexpected ends it too, with a message on stderr: a
// figure for wrong answers would be worthless. The first line printed, before any command, is
// {"app_port":N}.
//
//   target PORT PID SECRET [PROTOCOL]   the server under test, and what it speaks: sidekick (the
//                               default), socket.io, bun or centrifugo; the latter three have
//                               only open, subscribe room, publish and close
//   open COUNT INFLIGHT         WebSockets, kept open                     unit: a socket
//   hello                       all sockets say hello, as clients that     unit: a socket
//                               come back do
//   subscribe room|own [COUNT]  a token and a subscription for each of    unit: a socket
//                               the first COUNT sockets (default: all)
//   listen COUNT                COUNT resources of its own per socket     unit: a socket
//   publish COUNT INFLIGHT [exact]  POST /message to the room             unit: a delivered message
//                               exact: each socket must receive each message once, in order, and
//                               as one text of 200 bytes
//   invalidate COUNT INFLIGHT   POST /resources, one listener each        unit: a POST
//   register COUNT INFLIGHT     POST /connection                          unit: a POST
//   send COUNT INFLIGHT         `send` frames, one in flight per socket   unit: a forward received
//   cycle COUNT INFLIGHT        token, connect, subscribe, listen, close  unit: a cycle
//   close                       all WebSockets, with a handshake
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using std::string;
using std::string_view;

constexpr size_t message_bytes = 200;  // the whole text of a delivered `message`
constexpr u64 stall_ns = 20'000'000'000;

[[noreturn]] void fail(const string& what) {
  std::fprintf(stderr, "load: %s\n", what.c_str());
  std::exit(1);
}

u64 now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t{};
  if (clock_gettime(clock, &t) != 0)
    fail(string("clock_gettime: ") + std::strerror(errno) + "; has the server exited?");
  return u64(t.tv_sec) * 1'000'000'000 + u64(t.tv_nsec);
}

bool has(string_view text, string_view part) { return text.find(part) != string_view::npos; }

string digits(u32 n) {
  char text[16];
  std::snprintf(text, sizeof text, "%08u", n);
  return text;
}

/// The eight digits after the first '#': they identify a message, a forward or a resource.
u32 sequence_of(string_view text) {
  const size_t at = text.find('#');
  if (at == string_view::npos || at + 9 > text.size())
    fail("expected a text with #NNNNNNNN, got: " + string(text));
  u32 n = 0;
  for (size_t i = at + 1; i < at + 9; i++) n = n * 10 + u32(text[i] - '0');
  return n;
}

/// A protocol of publish and subscribe.
struct Protocol {
  string_view name, socket_path, publish_path;
  string_view body_head, body_tail;              // of a POST, around the data
  string_view frame_head = {}, frame_tail = {};  // of a delivered message, around the same data
  struct Step {
    string_view said, answered;  // the beginning of the answer
  };
  std::vector<Step> join = {};                      // for Sidekick, subscribe() joins with a token
  string_view greeting = {}, ping = {}, pong = {};  // as texts, not as control frames
  bool has_lines = false;                           // a frame may hold several texts, one per line
};

const std::vector<Protocol>& protocols() {
  // clang-format off
  static const std::vector<Protocol> all = {
      {.name = "sidekick",
       .socket_path = "/socket",
       .publish_path = "/message",
       .body_head = R"({ "channel": "bench", "params": { "room": "0" }, "data": ")",
       .body_tail = R"(" })",
       .frame_head =
           R"({ "type": "message", "channel": "bench", "params": { "room": "0" }, "data": ")",
       .frame_tail = R"(" })"},
      {.name = "socket.io",
       .socket_path = "/socket.io/?EIO=4&transport=websocket",
       .publish_path = "/publish",
       .body_head = R"({"channel":"room","data":")",
       .body_tail = R"("})",
       .frame_head = R"(42["message",")",
       .frame_tail = R"("])",
       .join = {{"40", "40{"}, {R"(420["join","room"])", "430"}},
       .greeting = "0{",
       .ping = "2",
       .pong = "3"},
      {.name = "bun",
       .socket_path = "/",
       .publish_path = "/publish",
       .body_head = R"({"channel":"room","data":")",
       .body_tail = R"("})",
       .join = {{"join room", "joined"}}},
      {.name = "centrifugo",
       .socket_path = "/connection/websocket",
       .publish_path = "/api/publish",
       .body_head = R"({"channel":"room","data":")",
       .body_tail = R"("})",
       .frame_head = R"({"push":{"channel":"room","pub":{"data":")",
       .frame_tail = R"("}}})",
       .join = {{R"({"id":1,"connect":{}})", R"({"id":1,"connect":)"},
                {R"({"id":2,"subscribe":{"channel":"room"}})", R"({"id":2,"subscribe":)"}},
       .ping = "{}",
       .pong = "{}",
       .has_lines = true},
  };
  // clang-format on
  return all;
}

enum class Kind : u8 { post, socket, app };

struct Connection {
  int fd = -1;
  Kind kind = Kind::post;
  bool upgraded = false;
  bool closing = false;
  u32 index = 0;     // index in its list
  u32 received = 0;  // messages of one `publish exact`
  u64 started = 0;   // start of the request in flight
  string token;
  string in;   // an incomplete message
  string out;  // not yet accepted by the kernel
};

/// The figures of one command: CPU of the server and of this process, wall time, and a latency per
/// unit or per delivery.
struct Measure {
  u64 units = 0;
  std::vector<float> latency_us;
};

class Load {
 public:
  Load() {
    epoll_ = epoll_create1(0);
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 511) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      fail(string("the app server cannot listen: ") + std::strerror(errno));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
    std::printf("{\"app_port\":%u}\n", ntohs(address.sin_port));
  }

  /// Until stdin has a command or ends. Answers pings: some servers drop a silent client in
  /// seconds.
  void wait_for_command() {
    pollfd ready[] = {{STDIN_FILENO, POLLIN, 0}, {epoll_, POLLIN, 0}};
    while (true) {
      if (poll(ready, 2, -1) < 0) fail(string("poll: ") + std::strerror(errno));
      if (ready[0].revents != 0) return;
      take_events(0);
    }
  }

  void run(const string& line) {
    std::istringstream words(line);
    string verb, mode;
    words >> verb;
    u32 count = 0, inflight = 1;
    if (verb == "target") {
      words >> port_ >> pid_ >> secret_;
      if (words >> mode) set_protocol(mode);
      if (clock_getcpuclockid(pid_, &server_clock_) != 0)
        fail("no process " + std::to_string(pid_));
      std::puts("{}");
    } else if (verb == "hello") {
      say_hello();
    } else if (verb == "subscribe") {
      if (!(words >> mode >> count)) count = u32(sockets_.size());
      count = std::min(count, u32(sockets_.size()));
      if (protocol_->join.empty())
        subscribe(mode == "own", count);
      else
        join(count);
    } else if (verb == "listen") {
      words >> count;
      listen_to(count);
    } else if (verb == "close") {
      close_all();
      std::puts("{}");
    } else {
      words >> count >> inflight;
      inflight = std::max(1u, std::min(inflight, count));
      if (verb == "open")
        open(count, inflight);
      else if (verb == "publish")
        publish(count, inflight, words >> mode && mode == "exact");
      else if (verb == "invalidate")
        invalidate(count, inflight);
      else if (verb == "register")
        register_tokens(count, inflight);
      else if (verb == "send")
        send(count, inflight);
      else if (verb == "cycle")
        cycle(count, inflight);
      else
        fail("unknown command: " + line);
    }
    on_frame_ = {};
    on_opened_ = {};
    on_closed_ = {};
    on_forward_ = {};
  }

 private:
  // ---- commands ----

  void open(u32 count, u32 inflight) {
    Measure m;
    u32 started = 0;
    auto start = [&] {
      if (started == count) return;
      started++;
      open_socket();
    };
    on_opened_ = [&](Connection& c) {
      m.latency_us.push_back(since(c.started));
      m.units++;
      start();
    };
    measured(m, [&] {
      for (u32 i = 0; i < inflight; i++) start();
      run_until([&] { return m.units == count; }, "open");
    });
  }

  void say_hello() {
    Measure m;
    on_frame_ = [&](Connection&, string_view text) {
      expect(text, "\"welcome\"");
      m.units++;
    };
    measured(m, [&] {
      for (auto& c : sockets_)
        write_frame(*c,
                    R"({"type":"listen","id":1,"resources":[],"hello":")" + new_token() + "\"}");
      run_until([&] { return m.units == sockets_.size(); }, "hello");
    });
  }

  void subscribe(bool own, u32 count) {
    Measure m;
    measured(m, [&] {
      post_all("/connection", count, 8, [&](u32 i) {
        sockets_[i]->token = new_token();
        return token_body(sockets_[i]->token, own ? std::to_string(i) : "0");
      });
      on_frame_ = [&](Connection&, string_view text) {
        expect(text, "\"subscribed\"");
        m.units++;
      };
      for (u32 i = 0; i < count; i++)
        write_frame(*sockets_[i], R"({"type":"subscribe","token":")" + sockets_[i]->token + "\"}");
      run_until([&] { return m.units == count; }, "subscribe");
    });
  }

  void join(u32 count) {
    Measure m;
    measured(m, [&] {
      for (const auto& [said, answered] : protocol_->join) {
        u32 answers = 0;
        on_frame_ = [&, answered = answered](Connection&, string_view text) {
          if (!text.starts_with(answered))
            fail("expected " + string(answered) + ", got: " + string(text));
          answers++;
        };
        for (u32 i = 0; i < count; i++) write_frame(*sockets_[i], said);
        run_until([&] { return answers == count; }, "subscribe");
      }
      m.units = count;
    });
  }

  void listen_to(u32 count) {
    Measure m;
    on_frame_ = [&](Connection&, string_view text) {
      expect(text, "\"listening\"");
      m.units++;
    };
    measured(m, [&] {
      for (u32 i = 0; i < sockets_.size(); i++) {
        string text = R"({"type":"listen","resources":[)";
        for (u32 k = 0; k < count; k++) text += (k ? ",\"" : "\"") + resource(i, k) + "\"";
        write_frame(*sockets_[i], text + "]}");
      }
      run_until([&] { return m.units == sockets_.size(); }, "listen");
    });
    resources_per_socket_ = count;
  }

  void publish(u32 count, u32 inflight, bool exact) {
    // A slot is free again once its POST is answered and all have its message: no queue builds up
    // anywhere.
    struct Message {
      u64 started = 0;
      u32 missing = 0;
      Connection* post = nullptr;
    };
    const size_t around = protocol_->frame_head.size() + protocol_->frame_tail.size();
    const string filler(message_bytes - around - 9, 'x');
    for (auto& c : sockets_) c->received = 0;
    Measure m;
    std::vector<Message> messages(count);
    u32 started = 0, finished = 0;
    bool warm = false;
    auto start = [&](Connection& post) {
      Message& message = messages[started];
      message = {now_ns(), u32(sockets_.size()) + 1, &post};  // one more: the answer to the POST
      string body(protocol_->body_head);
      body.append("#").append(digits(started)).append(filler).append(protocol_->body_tail);
      write_post(post, protocol_->publish_path, body);
      post.index = started++;
    };
    auto step = [&](u32 n) {
      if (--messages[n].missing > 0) return;
      finished++;
      if (warm && started < count) start(*messages[n].post);
    };
    on_frame_ = [&](Connection& c, string_view text) {
      const u32 n = sequence_of(text);
      if (n >= started) fail("a message that was never posted: " + string(text));
      if (exact && (n != c.received++ || text.size() != message_bytes))
        fail("expected message " + std::to_string(c.received - 1) + ", " +
             std::to_string(message_bytes) + " bytes; got: " + string(text));
      if (warm) {
        m.latency_us.push_back(since(messages[n].started));
        m.units++;
      }
      step(n);
    };
    on_answer_ = [&](Connection& post) { step(post.index); };
    if (count <= inflight)
      fail("publish: COUNT must be above INFLIGHT, since the first ones only warm the connections");
    open_posts(inflight);
    for (auto& post : posts_) start(*post);
    run_until([&] { return finished == inflight; }, "publish");
    warm = true;
    measured(m, [&] {
      for (auto& post : posts_)
        if (started < count) start(*post);
      run_until([&] { return finished == count; }, "publish");
    });
    close_posts();
  }

  void invalidate(u32 count, u32 inflight) {
    // As in `publish`, with one listener per POST, picked in a fixed stride over sockets and their
    // resources.
    struct Publish {
      u64 started = 0;
      u32 missing = 0;
      Connection* post = nullptr;
    };
    Measure m;
    std::vector<Publish> publishes(count);
    std::vector<std::vector<u32>> waiting(sockets_.size());  // per socket, in the order posted
    u32 started = 0, finished = 0;
    bool warm = false;
    auto start = [&](Connection& post) {
      const u32 n = started++;
      const u32 socket = u32((u64(n) * 7919) % sockets_.size());
      publishes[n] = {now_ns(), 2, &post};
      post.index = n;
      waiting[socket].push_back(n);
      write_post(post, "/resources",
                 R"({ "resources": [")" + resource(socket, n % resources_per_socket_) + "\"] }");
    };
    auto step = [&](u32 n) {
      if (--publishes[n].missing > 0) return;
      finished++;
      if (warm && started < count) start(*publishes[n].post);
    };
    on_frame_ = [&](Connection& c, string_view text) {
      expect(text, "\"updated\"");
      auto& queue = waiting[c.index];
      if (queue.empty()) fail("an update that was never posted: " + string(text));
      const u32 n = queue.front();
      queue.erase(queue.begin());
      if (warm) {
        m.latency_us.push_back(since(publishes[n].started));
        m.units++;
      }
      step(n);
    };
    on_answer_ = [&](Connection& post) { step(post.index); };
    open_posts(inflight);
    for (auto& post : posts_) start(*post);
    run_until([&] { return finished == inflight; }, "invalidate");
    warm = true;
    measured(m, [&] {
      for (auto& post : posts_)
        if (started < count) start(*post);
      run_until([&] { return finished == count; }, "invalidate");
    });
    close_posts();
  }

  void register_tokens(u32 count, u32 inflight) {
    Measure m;
    open_posts(inflight);
    auto body = [&](u32) { return token_body(new_token(), "0"); };
    post_on_open(inflight, "/connection", body, nullptr);  // only warms the connections
    measured(m, [&] { post_on_open(count, "/connection", body, &m); });
    close_posts();
  }

  void send(u32 count, u32 inflight) {
    Measure m;
    inflight = std::min(inflight, u32(sockets_.size()));
    u32 started = 0, finished = 0, goal = 0;
    auto start = [&](u32 socket) {
      Connection& c = *sockets_[socket];
      started++;
      c.started = now_ns();
      // The number identifies the socket, so that the forward shows which one may send again.
      write_frame(c, R"({"type":"send","token":")" + c.token +
                         R"(","channel":"bench","params":{"room":")" + std::to_string(socket) +
                         R"("},"data":"#)" + digits(socket) + string(64, 'x') + "\"}");
    };
    on_frame_ = [&](Connection&, string_view text) {
      fail("expected silence, got: " + string(text));
    };
    on_forward_ = [&](string_view body) {
      const u32 socket = sequence_of(body.substr(body.find("\"data\"")));
      if (socket >= sockets_.size()) fail("a forward without a sender: " + string(body));
      finished++;
      m.latency_us.push_back(since(sockets_[socket]->started));
      if (started < goal) start(socket);
    };
    auto run_sends = [&](u32 n) {
      started = finished = 0;
      goal = n;
      for (u32 i = 0; i < inflight && started < goal; i++) start(i);
      run_until([&] { return finished == goal; }, "send");
    };
    run_sends(inflight);  // opens the server's connections to the app server
    m.latency_us.clear();
    measured(m, [&] {
      run_sends(count);
      m.units = count;
    });
  }

  void cycle(u32 count, u32 inflight) {
    if (!sockets_.empty()) fail("cycle: close the open sockets first");
    Measure m;
    u32 started = 0;
    std::vector<string> tokens;
    post_all("/connection", count, 8, [&](u32) {
      tokens.push_back(new_token());
      return token_body(tokens.back(), "0");
    });
    auto start = [&] {
      if (started == count) return;
      open_socket().token = tokens[started++];
    };
    on_opened_ = [&](Connection& c) {
      write_frame(c, R"({"type":"subscribe","token":")" + c.token + "\"}");
    };
    on_frame_ = [&](Connection& c, string_view text) {
      if (has(text, "\"subscribed\""))
        return write_frame(c, R"({"type":"listen","resources":["todo/)" + c.token + "\"]}");
      expect(text, "\"listening\"");
      write_close(c);
    };
    on_closed_ = [&](Connection&) {
      m.units++;
      start();
    };
    measured(m, [&] {
      for (u32 i = 0; i < inflight; i++) start();
      run_until([&] { return m.units == count; }, "cycle");
    });
    sockets_.clear();
  }

  void close_all() {
    size_t closed = 0, next = 0;
    const size_t count = sockets_.size();
    on_closed_ = [&](Connection&) {
      closed++;
      if (next < count) write_close(*sockets_[next++]);
    };
    while (next < std::min<size_t>(count, 64)) write_close(*sockets_[next++]);
    run_until([&] { return closed == count; }, "close");
    sockets_.clear();
  }

  // ---- shared by commands ----

  template <class Body>
  void measured(Measure& m, Body body) {
    settle();
    frame_bytes_ = 0;
    const u64 wall = now_ns(), server = now_ns(server_clock_),
              self = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    body();
    const u64 server_end = now_ns(server_clock_), wall_end = now_ns(),
              self_end = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    std::sort(m.latency_us.begin(), m.latency_us.end());
    auto at = [&](double share) {
      return m.latency_us.empty()
                 ? 0.0
                 : double(m.latency_us[size_t(share * double(m.latency_us.size() - 1))]);
    };
    std::printf(
        "{\"units\":%llu,\"cpu_us\":%.3f,\"frame_bytes\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
        "\"wall_ms\":%.1f,\"load_share\":%.2f}\n",
        static_cast<unsigned long long>(m.units),
        m.units ? double(server_end - server) / 1e3 / double(m.units) : 0.0,
        m.units ? double(frame_bytes_) / double(m.units) : 0.0, at(0.5), at(0.99),
        double(wall_end - wall) / 1e6, double(self_end - self) / double(wall_end - wall));
  }

  void open_posts(u32 count) {
    while (posts_.size() < count) posts_.push_back(connect_to(Kind::post));
  }

  void close_posts() {
    for (auto& post : posts_) ::close(post->fd);
    posts_.clear();
    on_answer_ = {};
  }

  template <class Body>
  void post_on_open(u32 count, const char* path, Body body, Measure* m) {
    u32 started = 0, finished = 0;
    auto start = [&](Connection& post) {
      post.started = now_ns();
      write_post(post, path, body(started++));
    };
    on_answer_ = [&](Connection& post) {
      finished++;
      if (m) {
        m->latency_us.push_back(since(post.started));
        m->units++;
      }
      if (started < count) start(post);
    };
    for (auto& post : posts_)
      if (started < count) start(*post);
    run_until([&] { return finished == count; }, path);
  }

  template <class Body>
  void post_all(const char* path, u32 count, u32 inflight, Body body) {
    open_posts(inflight);
    post_on_open(count, path, body, nullptr);
    close_posts();
  }

  string new_token() {  // as long as the npm server's
    char text[40];
    std::snprintf(text, sizeof text, "00000000-0000-4000-8000-%012u", ++token_count_);
    return text;
  }

  static string token_body(const string& token, const string& room) {
    return R"({ "token": ")" + token + R"(", "channel": "bench", "params": { "room": ")" + room +
           R"(" }, "context": { "user": "u-1234", "role": "member" } })";
  }

  static string resource(u32 socket, u32 k) {
    return "todo/" + std::to_string(socket) + "-" + std::to_string(k);
  }

  static float since(u64 started) { return float(now_ns() - started) / 1e3f; }

  static void expect(string_view text, string_view part) {
    if (!has(text, part)) fail("expected " + string(part) + ", got: " + string(text));
  }

  // ---- bytes out ----

  static sockaddr_in loopback(u32 port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  std::unique_ptr<Connection> connect_to(Kind kind) {
    auto c = std::make_unique<Connection>();
    c->kind = kind;
    c->started = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(port_);
    if (c->fd < 0 ||
        connect(c->fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      fail("cannot connect to 127.0.0.1:" + std::to_string(port_) + ": " + std::strerror(errno) +
           (errno == EMFILE ? ": raise ulimit -n" : ""));
    watch(*c);
    return c;
  }

  void watch(Connection& c) {
    const int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
  }

  Connection& open_socket() {
    sockets_.push_back(connect_to(Kind::socket));
    Connection& c = *sockets_.back();
    c.index = u32(sockets_.size() - 1);
    write(c,
          "GET " + string(protocol_->socket_path) +
              " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    return c;
  }

  void write_post(Connection& c, string_view path, const string& body) {
    const bool has_key = protocol_->name == "centrifugo";
    write(c, "POST " + string(path) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
                 (has_key ? "X-API-Key: " : "Authorization: Bearer ") + secret_ +
                 "\r\nContent-Type: application/json\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  void write_frame(Connection& c, string_view text, u8 opcode = 1) {
    constexpr u8 mask[4] = {0x12, 0x34, 0x56, 0x78};
    string frame;
    frame += char(0x80 | opcode);
    if (text.size() < 126) {
      frame += char(0x80 | text.size());
    } else {
      if (text.size() > 65535) fail("a client frame above 64 KiB is not supported");
      frame += char(0x80 | 126);
      frame += char(text.size() >> 8);
      frame += char(text.size() & 255);
    }
    frame.append(reinterpret_cast<const char*>(mask), 4);
    for (size_t i = 0; i < text.size(); i++) frame += char(u8(text[i]) ^ mask[i & 3]);
    write(c, frame);
  }

  void write_close(Connection& c) {
    c.closing = true;
    write_frame(c, string_view("\x03\xe8", 2), 8);
  }

  void write(Connection& c, string_view bytes) {
    if (c.out.empty()) {
      const ssize_t n = ::send(c.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) fail(string("write: ") + std::strerror(errno));
      if (n > 0) bytes.remove_prefix(size_t(n));
    }
    if (bytes.empty()) return;
    c.out += bytes;
    set_events(c, EPOLLIN | EPOLLOUT);
  }

  void flush(Connection& c) {
    const ssize_t n = ::send(c.fd, c.out.data(), c.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) c.out.erase(0, size_t(n));
    if (c.out.empty()) set_events(c, EPOLLIN);
  }

  void set_events(Connection& c, u32 events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &c;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
  }

  // ---- bytes in ----

  template <class Done>
  void run_until(Done done, const char* what) {
    u64 last = now_ns();
    while (!done()) {
      if (take_events(1000))
        last = now_ns();
      else if (now_ns() - last > stall_ns)
        fail(string(what) + ": received nothing for 20 s");
    }
  }

  /// Handles what has arrived since the last command, such as pings: it must not count towards the
  /// next measurement.
  void settle() {
    while (take_events(10)) {
    }
  }

  bool take_events(int at_most_ms) {
    epoll_event events[256];
    const int n = epoll_wait(epoll_, events, 256, at_most_ms);
    for (int i = 0; i < n; i++) {
      auto* c = static_cast<Connection*>(events[i].data.ptr);
      if (c == nullptr)
        accept_app();
      else {
        if (events[i].events & EPOLLOUT) flush(*c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read(*c);
      }
    }
    return n > 0;
  }

  void accept_app() {
    auto c = std::make_unique<Connection>();
    c->kind = Kind::app;
    c->fd = accept(listener_, nullptr, nullptr);
    if (c->fd < 0) return;
    watch(*c);
    apps_.push_back(std::move(c));
  }

  void read(Connection& c) {
    const ssize_t n = recv(c.fd, buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return on_end(c);
    string_view bytes(buffer_, size_t(n));
    if (!c.in.empty()) {
      c.in += bytes;
      bytes = c.in;
    }
    const size_t used = c.kind == Kind::post  ? read_answer(c, bytes)
                        : c.kind == Kind::app ? read_forwards(c, bytes)
                                              : read_socket(c, bytes);
    if (c.in.empty())
      c.in.assign(bytes.substr(used));
    else
      c.in.erase(0, used);
  }

  void on_end(Connection& c) {
    if (c.kind == Kind::post) fail("the server closed a connection in the middle of a POST");
    if (c.kind == Kind::socket && !c.closing)
      fail("the server closed a WebSocket that should stay open");
    epoll_ctl(epoll_, EPOLL_CTL_DEL, c.fd, nullptr);
    ::close(c.fd);
    c.fd = -1;
    string().swap(c.in);
    if (c.kind == Kind::socket && on_closed_) on_closed_(c);
  }

  size_t read_answer(Connection& c, string_view bytes) {
    const size_t head = bytes.find("\r\n\r\n");
    if (head == string_view::npos) return 0;
    if (!bytes.starts_with("HTTP/1.1 200")) fail("expected 200, got: " + string(bytes));
    const string_view fields = bytes.substr(0, head);
    const size_t length = content_length(fields);
    const string_view body = bytes.substr(head + 4);
    if (length == string_view::npos ? !body.ends_with("0\r\n\r\n") : body.size() < length) return 0;
    on_answer_(c);
    return bytes.size();  // never more than one in flight
  }

  size_t read_forwards(Connection& c, string_view bytes) {
    size_t used = 0;
    while (true) {
      const string_view rest = bytes.substr(used);
      const size_t head = rest.find("\r\n\r\n");
      if (head == string_view::npos) return used;
      const size_t length = content_length(rest.substr(0, head));
      if (length == string_view::npos)
        fail("a forward without a Content-Length: " + string(rest.substr(0, head)));
      if (rest.size() < head + 4 + length) return used;
      used += head + 4 + length;
      write(c, "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
      if (!on_forward_) fail("unexpected forward");
      on_forward_(rest.substr(head + 4, length));
    }
  }

  static size_t content_length(string_view fields) {
    for (string_view name : {"\r\nContent-Length: ", "\r\ncontent-length: "}) {
      const size_t at = fields.find(name);
      if (at != string_view::npos)
        return std::strtoul(fields.data() + at + name.size(), nullptr, 10);
    }
    return string_view::npos;
  }

  size_t read_socket(Connection& c, string_view bytes) {
    size_t used = 0;
    if (!c.upgraded) {
      const size_t head = bytes.find("\r\n\r\n");
      if (head == string_view::npos) return 0;
      if (!bytes.starts_with("HTTP/1.1 101")) fail("expected 101, got: " + string(bytes));
      c.upgraded = true;
      used = head + 4;
      if (on_opened_) on_opened_(c);
    }
    while (bytes.size() - used >= 2) {
      const auto* p = reinterpret_cast<const u8*>(bytes.data()) + used;
      const size_t rest = bytes.size() - used;
      size_t size = p[1] & 127, at = 2;
      if (size == 126) {
        if (rest < 4) break;
        size = size_t(p[2]) << 8 | p[3];
        at = 4;
      } else if (size == 127) {
        fail("a server frame above 64 KiB is not expected here");
      }
      if (rest < at + size) break;
      const u8 opcode = p[0] & 15;
      const string_view text = bytes.substr(used + at, size);
      used += at + size;
      frame_bytes_ += at + size;
      if (opcode == 8) {
        if (!c.closing)
          fail("the server closed a WebSocket that should stay open, code " +
               std::to_string(size >= 2 ? u8(text[0]) << 8 | u8(text[1]) : 0));
      } else if (opcode == 9) {
        // a server drops a client that misses three pings
        if (!c.closing) write_frame(c, text, 10);
      } else if (opcode == 1) {
        for (size_t from = 0; from < text.size();) {
          const size_t end =
              protocol_->has_lines ? std::min(text.find('\n', from), text.size()) : text.size();
          on_text(c, text.substr(from, end - from));
          from = end + 1;
        }
      }
    }
    return used;
  }

  void on_text(Connection& c, string_view text) {
    if (!protocol_->ping.empty() && text == protocol_->ping) return write_frame(c, protocol_->pong);
    if (!protocol_->greeting.empty() && text.starts_with(protocol_->greeting)) return;
    if (!on_frame_) fail("unexpected message: " + string(text));
    on_frame_(c, text);
  }

  void set_protocol(string_view name) {
    for (const Protocol& known : protocols())
      if (known.name == name) return void(protocol_ = &known);
    fail("unknown protocol: " + string(name));
  }

  int epoll_ = -1, listener_ = -1, pid_ = 0;
  u32 port_ = 0, token_count_ = 0, resources_per_socket_ = 1;
  u64 frame_bytes_ = 0;  // received, headers included, in this measurement
  string secret_;
  clockid_t server_clock_ = CLOCK_MONOTONIC;
  const Protocol* protocol_ = &protocols().front();
  std::vector<std::unique_ptr<Connection>> sockets_, posts_, apps_;
  std::function<void(Connection&)> on_opened_, on_closed_, on_answer_;
  std::function<void(Connection&, string_view)> on_frame_;
  std::function<void(string_view)> on_forward_;
  char buffer_[256 * 1024];
};

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto load = std::make_unique<Load>();
  string line;
  do load->wait_for_command();
  while (std::getline(std::cin, line) && (load->run(line), true));
}
