// Tokens as rows of an SQLite database in WAL mode, one transaction per turn. Not flushed to the
// disk each time (synchronous=NORMAL): committed data survives a crash of the process. A power
// failure may lose the last commits but does not damage the database.
//
// The hub sets the expiry times, by a clock that restarts with each process. The table `clock`
// holds one moment on three clocks. The next process computes from it how much time has passed.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "clock.hpp"
#include "errors.hpp"
#include "store/file.hpp"
#include "store/private_file.hpp"
#include "store/tokens.hpp"

namespace sidekick::host {

namespace {

constexpr int schema_version = 1;

/// Less than that is the clocks' drift, not a jump.
constexpr Millis clock_drift_ms = 1000;

/// Differs after each start of the machine. Empty where there is none: then the wall clock counts.
std::string boot_id() { return read_file("/proc/sys/kernel/random/boot_id").bytes; }

/// How far the wall clock is ahead of the hub's; the hub's follows no correction.
std::int64_t wall_offset_ms() {
  return static_cast<std::int64_t>(wall_ms()) - static_cast<std::int64_t>(now_ms());
}

class Statement {
 public:
  Statement(sqlite3* database, const char* sql) {
    if (sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) !=
        SQLITE_OK)
      throw StartError(sqlite3_errmsg(database));
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, Bytes bytes) {
    // An empty blob needs a non-null address; otherwise it is stored as NULL.
    sqlite3_bind_blob64(statement_, index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                        SQLITE_STATIC);
    return *this;
  }
  Statement& bind(int index, u64 number) {
    sqlite3_bind_int64(statement_, index, static_cast<sqlite3_int64>(number));
    return *this;
  }

  bool step() { return sqlite3_step(statement_) == SQLITE_ROW; }
  u64 number(int column) { return static_cast<u64>(sqlite3_column_int64(statement_, column)); }
  std::string bytes(int column) {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return data == nullptr
               ? std::string()
               : std::string(data,
                             static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }

  /// Resets the statement. Returns SQLite's result code.
  int reset() {
    const int code = sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    return code;
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

class SqliteTokens final : public TokenStore {
 public:
  SqliteTokens(const std::string& directory, Log& log) : directory_(directory) { open(log); }

  void put(const action::PutToken& token) override {
    run(put_->bind(1, token.key)
            .bind(2, u64{token.state})
            .bind(3, token.expires_at)
            .bind(4, token.record));
  }
  void touch(const action::TouchToken& token) override {
    run(touch_->bind(1, u64{token.state}).bind(2, token.expires_at).bind(3, token.key));
  }
  void erase(const action::EraseToken& token) override { run(erase_->bind(1, token.key)); }
  void clear() override { run(*clear_); }

  std::string commit() override {
    const std::int64_t offset_ms = wall_offset_ms();
    const bool has_jumped =
        std::abs(offset_ms - stored_offset_ms_) > static_cast<std::int64_t>(clock_drift_ms);
    if (has_jumped) run(bind_moment());
    if (!is_writing_) return {};
    is_writing_ = false;
    if (wrong_.empty() && execute("COMMIT") == SQLITE_OK) {
      if (has_jumped) stored_offset_ms_ = offset_ms;
      return {};
    }
    std::string why = wrong_.empty() ? sqlite3_errmsg(database_.get()) : wrong_;
    wrong_.clear();
    if (sqlite3_get_autocommit(database_.get()) == 0) execute("ROLLBACK");
    return why;
  }

  std::vector<StoredToken> all() override {
    std::vector<StoredToken> tokens;
    while (all_->step())
      tokens.push_back(
          {static_cast<u32>(all_->number(1)), all_->number(2), all_->bytes(0), all_->bytes(3)});
    if (const int code = all_->reset(); code != SQLITE_OK) refuse(code);
    return tokens;
  }

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
  };

  void open(Log& log) {
    // Readable by the owner only: contexts may hold private data.
    if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST)
      throw StartError("--data " + directory_ + ": " + errno_text(errno) + ", mkdir");
    for (const char* name : {"/tokens.sqlite", "/tokens.sqlite-wal"})
      keep_existing_private(directory_ + name, log);
    const mode_t mask = umask(077);
    sqlite3* database = nullptr;
    int code =
        sqlite3_open_v2((directory_ + "/tokens.sqlite").c_str(), &database,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(database);
    // Exclusive: a second process is rejected at once, and no shared memory is needed.
    for (const char* sql : {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL",
                            "PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE"}) {
      if (code == SQLITE_OK) code = execute(sql);
    }
    umask(mask);
    if (code != SQLITE_OK) refuse(code);
    check_schema();
    code = execute(
        "CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, state INTEGER NOT NULL, "
        "expires_at INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID");
    if (code == SQLITE_OK)
      code = execute(
          "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY, boot_id BLOB NOT NULL, "
          "boot_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, hub_ms INTEGER NOT NULL)");
    if (code == SQLITE_OK)
      code = execute(("PRAGMA user_version=" + std::to_string(schema_version)).c_str());
    if (code != SQLITE_OK) refuse(code);
    put_moment_ = prepare(
        "INSERT OR REPLACE INTO clock (id, boot_id, boot_ms, wall_ms, hub_ms) "
        "VALUES (1, ?1, ?2, ?3, ?4)");
    shift_to_this_process();
    stored_offset_ms_ = wall_offset_ms();
    bind_moment().step();
    code = put_moment_->reset();
    if (code == SQLITE_OK) code = execute("COMMIT");
    if (code != SQLITE_OK) refuse(code);
    put_ = prepare(
        "INSERT OR REPLACE INTO tokens (key, state, expires_at, record) VALUES (?1, ?2, ?3, ?4)");
    touch_ = prepare("UPDATE tokens SET state=?1, expires_at=?2 WHERE key=?3");
    erase_ = prepare("DELETE FROM tokens WHERE key=?1");
    clear_ = prepare("DELETE FROM tokens");
    all_ = prepare("SELECT key, state, expires_at, record FROM tokens");
  }

  /// Before SQLite opens it: closing a file drops the locks that this process holds on it.
  static void keep_existing_private(const std::string& path, Log& log) {
    const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return;
    keep_private(file, "the stored tokens", path, log);
    ::close(file);
  }

  /// Subtracts the time since the last process stored the tokens from the rest of each lifetime. In
  /// the same boot, the boot's clock tells that time, whatever happened to the wall clock. After a
  /// restart of the machine only the wall clock can; it may have been wrong, but time does not run
  /// backwards.
  void shift_to_this_process() {
    Statement last(database_.get(), "SELECT boot_id, boot_ms, wall_ms, hub_ms FROM clock");
    if (!last.step()) return;  // written by a version that compared wall clocks
    const bool is_same_boot = !boot_id_.empty() && last.bytes(0) == boot_id_;
    const Millis then = last.number(is_same_boot ? 1 : 2);
    const Millis now = is_same_boot ? boot_ms() : wall_ms();
    const Millis passed = now > then ? now - then : 0;
    const auto shift = static_cast<std::int64_t>(now_ms() - (last.number(3) + passed));
    if (std::abs(shift) <= static_cast<std::int64_t>(clock_drift_ms)) return;
    // A held token has no expiry time.
    const int code = execute(("UPDATE tokens SET expires_at=max(1, expires_at+(" +
                              std::to_string(shift) + ")) WHERE expires_at>0")
                                 .c_str());
    if (code != SQLITE_OK) refuse(code);
  }

  Statement& bind_moment() {
    return put_moment_->bind(1, boot_id_).bind(2, boot_ms()).bind(3, wall_ms()).bind(4, now_ms());
  }

  /// SQLite reports a file system without locks as if another process held the lock.
  bool has_locks() const {
    const int file = ::open((directory_ + "/tokens.sqlite").c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) return true;
    struct flock lock{};
    lock.l_type = F_RDLCK;
    const bool has_none = fcntl(file, F_SETLK, &lock) != 0 && errno == ENOLCK;
    ::close(file);
    return !has_none;
  }

  [[noreturn]] void refuse(int code) {
    const std::string where = "--data " + directory_ + ": ";
    switch (code & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        if (!has_locks())
          throw StartError(
              where + "its file system has no locks (ENOLCK): choose a folder on a local disk");
        throw StartError(where +
                         "another process uses it: stop that process, or choose another folder");
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        throw StartError(
            where + "tokens.sqlite is damaged or not a database: move it away to start empty (" +
            sqlite3_errmsg(database_.get()) + ")");
      default:
        throw StartError(where +
                         "tokens.sqlite cannot be used: " + sqlite3_errmsg(database_.get()) +
                         (sqlite3_system_errno(database_.get()) != 0
                              ? " (" + errno_text(sqlite3_system_errno(database_.get())) + ")"
                              : ""));
    }
  }

  void check_schema() {
    Statement version(database_.get(), "PRAGMA user_version");
    version.step();
    const auto found = static_cast<sqlite3_int64>(version.number(0));
    if (found < 0 || found > schema_version) {
      throw StartError("--data " + directory_ +
                       ": tokens.sqlite was written by a later Sidekick (format " +
                       std::to_string(found) + ", this one reads " +
                       std::to_string(schema_version) + "): use that version, or another folder");
    }
  }

  std::unique_ptr<Statement> prepare(const char* sql) {
    try {
      return std::make_unique<Statement>(database_.get(), sql);
    } catch (const StartError& error) {
      throw StartError(
          "--data " + directory_ +
          ": tokens.sqlite belongs to another program: move it away, or choose another folder (" +
          error.what() + ")");
    }
  }

  int execute(const char* sql) {
    return sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  }

  /// The first failure counts: nothing of the turn is stored then.
  void run(Statement& statement) {
    if (!is_writing_) {
      is_writing_ = true;
      if (execute("BEGIN IMMEDIATE") != SQLITE_OK) fail();
    }
    if (wrong_.empty()) statement.step();
    if (statement.reset() != SQLITE_OK) fail();
  }

  void fail() {
    if (wrong_.empty()) wrong_ = sqlite3_errmsg(database_.get());
  }

  std::string directory_;
  std::string boot_id_ = boot_id();
  std::int64_t stored_offset_ms_ = 0;
  std::unique_ptr<sqlite3, Close> database_;
  std::unique_ptr<Statement> put_moment_, put_, touch_, erase_, clear_, all_;
  bool is_writing_ = false;
  std::string wrong_;
};

}  // namespace

std::unique_ptr<TokenStore> sqlite_tokens(const std::string& directory, Log& log) {
  return std::make_unique<SqliteTokens>(directory, log);
}

}  // namespace sidekick::host
