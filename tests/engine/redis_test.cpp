// The native server's pipe to an engine, on a real redis-server: what it promises the core, and
// what it does when the server refuses, stops or closes a connection.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "engine/redis.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "errors.hpp"

extern char** environ;

namespace sidekick::host {

namespace {

using Texts = std::vector<std::string>;
using std::chrono::milliseconds;

/// Only ends a test that has failed.
constexpr std::chrono::seconds wait_max{60};

unsigned short free_port() {
  asio::io_context context;
  const asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  return acceptor.local_endpoint().port();
}

class Server {
 public:
  explicit Server(const Texts& settings = {}) {
    char folder[] = "/tmp/sidekick-redis-XXXXXX";
    folder_ = mkdtemp(folder);
    Texts words{"redis-server", "--bind", "127.0.0.1", "--port", std::to_string(port),
                "--dir",        folder_,  "--save",    "",       "--logfile",
                "log"};
    words.insert(words.end(), settings.begin(), settings.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    REQUIRE(posix_spawnp(&process_, "redis-server", nullptr, nullptr, arguments.data(), environ) ==
            0);
    const auto give_up_at = std::chrono::steady_clock::now() + wait_max;
    for (std::string answer; !answer.starts_with("PONG") && !answer.starts_with("NOAUTH");) {
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < give_up_at,
                      "waited for redis-server to answer PING; the last answer: ", answer);
      answer = says("PING");
    }
  }
  ~Server() {
    signal(SIGKILL);
    waitpid(process_, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void signal(int number) const { kill(process_, number); }

  /// Returns the output of redis-cli for a command.
  std::string says(const std::string& command) const {
    const std::string line = "redis-cli -p " + std::to_string(port) + " " + command + " 2>&1";
    FILE* const output = popen(line.c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer{};
    while (const std::size_t size = fread(buffer.data(), 1, buffer.size(), output))
      text.append(buffer.data(), size);
    pclose(output);
    return text;
  }

  const unsigned short port = free_port();

 private:
  pid_t process_ = 0;
  std::string folder_;
};

/// Writes down what the engine says, one line each.
class Node final : private EngineTaker {
 public:
  explicit Node(const Server& server, const std::string& user = "",
                milliseconds timeout = milliseconds(5000))
      : redis(loop_,
              {parse_engine_url("--engine", "redis://" + user +
                                                "127.0.0.1:" + std::to_string(server.port) + "/3"),
               {},
               "test:1:3:",
               "0123456789abcdef",
               timeout,
               10'000,
               4096},
              *this, log_) {
    redis.start();
  }
  ~Node() {
    redis.end();
    loop_.context().restart();
    loop_.context().poll();
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Waits for a line that begins so, and returns it; forgets those before it.
  std::string next(std::string_view start) {
    for (std::size_t seen = 0;;) {
      for (; seen < lines_.size(); ++seen) {
        if (!lines_[seen].starts_with(start)) continue;
        std::string line = lines_[seen];
        lines_.erase(lines_.begin(), lines_.begin() + static_cast<std::ptrdiff_t>(seen) + 1);
        return line;
      }
      loop_.context().restart();
      REQUIRE_MESSAGE(loop_.context().run_one_for(wait_max) > 0, "waited for ", start);
    }
  }

  /// The lines so far.
  const Texts& lines() const { return lines_; }
  /// Handles events for so long.
  void run_for(milliseconds time) {
    loop_.context().restart();
    loop_.context().run_for(time);
  }

  void run(u32 call, Bytes script, const Texts& args) { redis.run(call, script, views(args)); }
  void join(u32 call, const Texts& topics) { redis.join(call, views(topics)); }
  void leave(const Texts& topics) { redis.leave(views(topics)); }

 private:
  static std::vector<Bytes> views(const Texts& texts) { return {texts.begin(), texts.end()}; }

  void on_engine_up() override { lines_.emplace_back("up"); }
  void on_engine_down() override { lines_.emplace_back("down"); }
  void on_engine_answer(u32 call, u32 status, std::span<const Bytes> values) override {
    std::string line = "answer " + std::to_string(call) + " " + std::to_string(status);
    for (const Bytes value : values) line.append(" ").append(value);
    lines_.push_back(line);
  }
  void on_engine_message(Bytes topic, Bytes body) override {
    lines_.push_back("message '" + std::string(topic) + "' " + std::string(body));
  }

  Loop loop_;
  Log log_{LogLevel::silent};
  Texts lines_;

 public:
  Redis redis;
};

}  // namespace

TEST_CASE("is up after a write has come back, and sends a heartbeat each second") {
  const Server server;
  Node node(server);
  node.next("up");
  CHECK(server.says("-n 3 get test:1:3:n:0123456789abcdef") == "1\n");
  CHECK(node.next("message ''").starts_with("message '' beat 2 1 "));
  CHECK(node.next("message ''").starts_with("message '' beat 3 1 "));
}

TEST_CASE("answers runs with their values, in order") {
  const Server server;
  Node node(server);
  node.next("up");
  node.run(1, "sync", {"0123456789abcdef", "e1", "", "", "0"});
  node.run(2, "register", {"T", "the record", "60000"});
  node.run(3, "claim", {"T", "0123456789abcdef", "s", "60000"});
  node.run(4, "claim", {"U", "0123456789abcdef", "s", "60000"});
  CHECK(node.next("answer").starts_with("answer 1 0 e1 "));
  CHECK(node.next("answer") == "answer 2 0 ok");
  CHECK(node.next("answer").starts_with("answer 3 0 ok the record "));
  CHECK(node.next("answer") == "answer 4 0 none");
}

TEST_CASE(
    "answers a join once every later message is sure to arrive, and obeys joins and leaves in "
    "order") {
  const Server server;
  Node node(server);
  node.next("up");
  const std::string odd("o\0d d", 5);
  node.join(7, {"a", odd, "b"});
  CHECK(node.next("answer") == "answer 7 0");
  node.run(8, "update", {"1000", "a", odd});
  CHECK(node.next("message 'a'").starts_with("message 'a' 1"));
  CHECK(node.next("message 'o").starts_with("message '" + odd + "' 1"));
  node.leave({"a"});
  node.join(9, {"a"});
  node.leave({"b"});
  node.join(10, {"c"});
  node.next("answer 9 0");
  node.next("answer 10 0");
  CHECK(server.says("publish test:1:3:c:a x") == "1\n");
  CHECK(server.says("publish test:1:3:c:b x") == "0\n");
  CHECK(node.next("message 'a'") == "message 'a' x");
}

TEST_CASE("passes on messages to the inbox with an empty topic") {
  const Server server;
  Node node(server);
  node.next("up");
  server.says("publish test:1:3:i:0123456789abcdef 'asked s T'");
  CHECK(node.next("message '' asked") == "message '' asked s T");
}

TEST_CASE("drops a message that is longer than any that a node publishes") {
  const Server server;
  Node node(server);
  node.next("up");
  node.join(1, {"a"});
  node.next("answer 1 0");
  const std::string longest(4096 + 1024, 'x');
  for (const std::string& body : {longest + "x", longest})
    server.says("publish test:1:3:c:a " + body);
  CHECK(node.next("message 'a'") == "message 'a' " + longest);
}

TEST_CASE("finds nodes with another prefix by the names of their connections") {
  const Server server;
  Node node(server);
  node.next("up");
  const std::string clients = server.says("client list type pubsub");
  CHECK(other_sidekicks(clients, "test:1:3:").empty());
  CHECK(other_sidekicks(clients, "other:1:3:") == std::set<std::string>{"test:1:3:"});
  CHECK(other_sidekicks("id=1 name= db=0\nid=2 name=sidekick-node: db=0\n", "a:").empty());
}

TEST_CASE("answers a refused call with status 1 and the reason, and stays up") {
  const Server server;
  Node node(server);
  node.next("up");
  server.says("config set maxmemory 1");
  node.run(1, "update", {"1000", "a"});
  node.run(2, "release", {"0123456789abcdef", "1000", "T", "s"});
  CHECK(node.next("answer").starts_with("answer 1 1 OOM "));
  CHECK(node.next("answer") == "answer 2 0");
  node.run(3, "update", {});
  CHECK(node.next("answer").starts_with("answer 3 1 "));
}

TEST_CASE("loses both connections if either ends, and reconnects") {
  const Server server;
  Node node(server);
  node.next("up");
  for (const char* type : {"normal", "pubsub"}) {
    node.join(1, {"a"});
    node.next("answer 1 0");
    server.says(std::string("client kill type ") + type + " skipme yes");
    node.next("down");
    node.next("up");
    CHECK(server.says("publish test:1:3:c:a x") == "0\n");
  }
}

TEST_CASE("answers nothing after the engine went down") {
  const Server server;
  Node node(server);
  node.next("up");
  node.run(1, "update", {"1000", "a"});
  server.says("client kill type normal skipme yes");
  node.next("down");
  node.run(2, "update", {"1000", "a"});
  node.join(3, {"a"});
  node.next("up");
  node.run(4, "update", {"1000", "a"});
  CHECK(node.next("answer").starts_with("answer 4 0 "));
}

TEST_CASE("goes down if a script is missing, a command is forbidden or the primary is demoted") {
  const Server server;
  Node node(server);
  node.next("up");
  server.says("script flush");
  node.next("down");
  node.next("up");
  server.says("acl setuser default -subscribe");
  node.join(1, {"a"});
  node.next("down");
  server.says("acl setuser default +subscribe");
  node.next("up");
  server.says("replicaof 127.0.0.1 1");
  node.next("down");
  server.says("replicaof no one");
  node.next("up");
}

TEST_CASE("goes down if the server stops, and up once it continues") {
  const Server server;
  Node node(server, "", milliseconds(1500));
  node.next("up");
  server.signal(SIGSTOP);
  node.run(1, "update", {"1000", "a"});
  node.next("down");
  CHECK(node.lines().empty());
  server.signal(SIGCONT);
  node.next("up");
}

TEST_CASE("stays up if this process itself was paused for too long") {
  const Server server;
  Node node(server, "", milliseconds(2500));
  node.next("up");
  server.signal(SIGSTOP);
  node.run_for(milliseconds(1300));  // a heartbeat waits for its return
  server.signal(SIGCONT);
  std::this_thread::sleep_for(milliseconds(4000));
  node.next("message '' beat 2");
  CHECK(node.next("").starts_with("message '' beat 3"));
}

TEST_CASE("connects with user and password") {
  const Server server({"--requirepass", "p:w@1"});
  Node node(server, ":p%3Aw%401@");
  node.next("up");
  // The permissions that docs/scale.md names.
  server.says(
      "-a p:w@1 acl setuser sidekick on '>pw' '~test:*' '&test:*' +@connection +@hash +@sortedset "
      "+@stream +subscribe +unsubscribe +publish +evalsha '+script|load' +info +time +exists +del "
      "+set +pexpire");
  Node other(server, "sidekick:pw@");
  other.next("up");
}

TEST_CASE("a new hub gets new connections, and is not told that the old ones ended") {
  const Server server;
  Node node(server);
  node.next("up");
  node.join(1, {"a"});
  node.next("answer 1 0");
  node.run(2, "update", {"1000", "a"});
  node.redis.renew();
  CHECK(node.next("") == "up");
  CHECK(server.says("publish test:1:3:c:a x") == "0\n");
  node.run(3, "update", {"1000", "a"});
  CHECK(node.next("answer").starts_with("answer 3 0 "));
}

TEST_CASE("reads the URL of an engine") {
  const EngineUrl plain = parse_engine_url("--engine", "redis://localhost");
  CHECK(plain.shown == "redis://localhost:6379/0");
  CHECK_FALSE(plain.is_tls);
  const EngineUrl full = parse_engine_url("E", "rediss://us%40er:p%2Fw@[::1]:7000/15");
  CHECK(full.shown == "rediss://[::1]:7000/15");
  CHECK(full.host == "::1");
  CHECK(full.user == "us@er");
  CHECK(full.password == "p/w");
  CHECK(full.database == 15);
  const std::string special = "p@w^[x]|{}\"<>`\\:y~";
  CHECK(parse_engine_url("E", "redis://:" + special + "@a").password == special);
  CHECK(parse_engine_url("E", "redis://10.0.0.1.nip.io").host == "10.0.0.1.nip.io");
  for (const char* text : {"redis://[::1",
                           "redis://[::1]06379",
                           "redis://[fe80::1%25lo]",
                           "redis://a/0000000001",
                           "redis://a%20b",
                           "redis://a,b",
                           "redis://a/%30",
                           "redis://a?",
                           "redis://:p?w@a",
                           "redis://:p%zz@a",
                           "redis://:p%ff@a",
                           "redis://:p/w@a",
                           "",
                           "redis",
                           "http://localhost",
                           "redis://",
                           "redis://:secret@",
                           "redis://a:0",
                           "redis://a:x",
                           "redis://a:65536",
                           "redis://a/b",
                           "redis://a/1/2",
                           "redis://a/-1",
                           "redis://a?db=1",
                           "redis://a#1",
                           "redis://secret:s p@a",
                           "redis://a/%00"}) {
    CAPTURE(text);
    try {
      parse_engine_url("E", text);
      FAIL("accepted");
    } catch (const UsageError& error) {
      CHECK(std::string(error.what()) ==
            "E: expected a URL such as redis://localhost:6379/0 or rediss://redis.example.com "
            "(escape special characters of a password as in %40)");
    }
  }
  CHECK_THROWS_WITH(parse_engine_url("E", "redis://user@a"),
                    "E: the URL has a user but no password");
}

}  // namespace sidekick::host
