#include "redis.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "engine/scripts.hpp"

namespace sidekick::lua {

namespace {

constexpr Bytes prefix("a \0prefix:1:0:", 14);

std::string key(Bytes kind, Bytes name = "") {
  return std::string(prefix).append(kind).append(name);
}

Bytes text_of(const redisReply& reply) { return Bytes(reply.str, reply.len); }

}  // namespace

void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

Redis::Redis() {
  char folder[] = "/tmp/sidekick-lua-XXXXXX";
  if (mkdtemp(folder) == nullptr) fail("no temporary folder");
  folder_ = folder;
  const int file = open((folder_ + "/clock").c_str(), O_RDWR | O_CREAT, 0600);
  if (ftruncate(file, sizeof(u64)) != 0) fail("no file for the clock");
  void* const at = mmap(nullptr, sizeof(u64), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (at == MAP_FAILED) fail("no memory for the clock");
  clock_ = static_cast<volatile u64*>(at);
  start();
}

Redis::~Redis() {
  kill_server();
  std::filesystem::remove_all(folder_);
}

// --- the process ---

void Redis::start() {
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // ends with the test, however that ends
    if (getppid() != parent) _exit(1);
    setenv("SIDEKICK_TEST_CLOCK", (folder_ + "/clock").c_str(), 1);
    setenv("LD_PRELOAD", SIDEKICK_FROZEN_CLOCK, 1);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
           (folder_ + "/socket").c_str(), "--dir", folder_.c_str(), "--save", "", "--logfile",
           "log", static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int tries = 0; (calls_ = connect()) == nullptr; ++tries) {
    if (tries == 6000) fail("redis-server does not answer");
    usleep(10'000);
  }
  const Reply info = ask({"INFO", "server"});
  const Bytes text = text_of(*info);
  server_ = text.substr(text.find("run_id:") + 7, 40);
  for (const host::EngineScript& script : host::engine_scripts())
    hashes_[std::string(script.name)] =
        text_of(*ask({"SCRIPT", "LOAD", std::string(script.source)}));
}

void Redis::kill_server() {
  calls_.reset();
  nodes_.clear();
  messages_.clear();
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  unlink((folder_ + "/socket").c_str());
}

void Redis::save_copy() {
  ask({"SAVE"});
  std::filesystem::copy_file(folder_ + "/dump.rdb", folder_ + "/copy.rdb",
                             std::filesystem::copy_options::overwrite_existing);
}

void Redis::restart(Data data) {
  if (data == Data::all) ask({"SAVE"});
  kill_server();
  std::error_code ignored;  // there may be none
  if (data != Data::all) std::filesystem::remove(folder_ + "/dump.rdb", ignored);
  if (data == Data::copy) std::filesystem::copy_file(folder_ + "/copy.rdb", folder_ + "/dump.rdb");
  start();
}

void Redis::set_full(bool is_full) { ask({"CONFIG", "SET", "maxmemory", is_full ? "1" : "0"}); }

void Redis::remove_expired() {
  // The scan visits all keys, and deletes those that have expired.
  std::string cursor = "0";
  do {
    const Reply page = ask({"SCAN", cursor, "COUNT", "1000"});
    cursor = text_of(*page->element[0]);
  } while (cursor != "0");
}

// --- connections ---

Redis::Connection Redis::connect() const {
  Connection connection(redisConnectUnix((folder_ + "/socket").c_str()));
  if (connection == nullptr || connection->err != 0) return nullptr;
  return connection;
}

void Redis::send(redisContext& connection, const Texts& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  redisAppendCommandArgv(&connection, static_cast<int>(words.size()), texts.data(), sizes.data());
}

Redis::Reply Redis::read(redisContext& connection) {
  void* reply = nullptr;
  if (redisGetReply(&connection, &reply) != REDIS_OK)
    fail(std::string("lost redis-server: ") + connection.errstr);
  return Reply(static_cast<redisReply*>(reply));
}

Redis::Reply Redis::ask(redisContext& connection, const Texts& words) {
  send(connection, words);
  Reply reply = read(connection);
  if (reply->type == REDIS_REPLY_ERROR && words[0] != "EVALSHA")
    fail("redis-server refused " + words[0] + ": " + std::string(text_of(*reply)));
  return reply;
}

Shard::Answer Redis::run(Bytes script, std::span<const Bytes> args) {
  Texts words{"EVALSHA", hashes_.find(script)->second, "1", std::string(prefix)};
  words.insert(words.end(), args.begin(), args.end());
  const Reply reply = ask(words);
  if (reply->type == REDIS_REPLY_ERROR) return {1, {std::string(text_of(*reply))}};
  Shard::Answer answer;
  for (std::size_t i = 0; i < reply->elements; ++i)
    answer.values.emplace_back(text_of(*reply->element[i]));
  return answer;
}

void Redis::attach(Bytes node) {
  Connection& connection = nodes_[std::string(node)];
  if (connection != nullptr) return;
  connection = connect();
  if (connection == nullptr) fail("redis-server accepts no connection");
  ask(*connection, {"SUBSCRIBE", key("i:", node)});
}

void Redis::detach(Bytes node) {
  const auto at = nodes_.find(node);
  if (at != nodes_.end()) nodes_.erase(at);
}

void Redis::subscribe(Bytes node, const char* command, const Texts& names) {
  const auto at = nodes_.find(node);
  if (at == nodes_.end()) return;
  Texts words{command};
  for (const std::string& topic : names) words.push_back(key("c:", topic));
  send(*at->second, words);
  for (std::size_t i = 0; i < names.size(); ++i) read(*at->second);
}

std::map<std::string, Texts> Redis::messages() {
  for (auto& [node, connection] : nodes_) {
    send(*connection, {"PING"});  // its answer comes after all messages of earlier scripts
    for (;;) {
      const Reply reply = read(*connection);
      if (text_of(*reply->element[0]) == "pong") break;
      const Bytes channel = text_of(*reply->element[1]);
      const Bytes topic = channel.substr(prefix.size());
      const std::string name = topic.starts_with("i:") ? "inbox" : "topic " + std::string(topic);
      messages_[node].push_back(name + ": " + std::string(text_of(*reply->element[2])));
    }
  }
  return std::exchange(messages_, {});
}

}  // namespace sidekick::lua
