// --data and clocks: a token lives for as long as it was promised, whatever somebody does to the
// system clock while the server runs, is stopped, or the machine sleeps or restarts.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { shim } from "../shared/support/shim.ts";
import { registerToken, TestClient } from "../shared/support/sidekick.ts";
import { cleanUp, newFolder, run, sql } from "./support/server.ts";

after(cleanUp);

const HOUR_S = 3600;

/**
 * The clocks of a machine: seconds added to the system clock and to the clock of the boot, an hour
 * to both once a file is there (sleep), to the system clock once another is (somebody sets it), and
 * another boot's id.
 */
let clocks: { LD_PRELOAD: string };
before(() => {
  clocks = shim(`
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    static long seconds(const char* name) {
      return getenv(name) != 0 ? atol(getenv(name)) : 0;
    }
    int clock_gettime(clockid_t clock, struct timespec* time) {
      const int result = syscall(SYS_clock_gettime, clock, time);
      if (clock == CLOCK_REALTIME) time->tv_sec += seconds("SHIM_WALL_S");
      if (clock == CLOCK_BOOTTIME) time->tv_sec += seconds("SHIM_BOOT_S");
      const char* asleep = getenv("SHIM_SLEPT_FILE");
      if ((clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME) && asleep != 0 &&
          syscall(SYS_access, asleep, F_OK) == 0)
        time->tv_sec += ${HOUR_S};
      const char* corrected = getenv("SHIM_CORRECTED_FILE");
      if (clock == CLOCK_REALTIME && corrected != 0 && syscall(SYS_access, corrected, F_OK) == 0)
        time->tv_sec += ${HOUR_S};
      return result;
    }
    static const char* shown(const char* path) {
      const char* boot_id = getenv("SHIM_BOOT_ID_FILE");
      return boot_id != 0 && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot_id : path;
    }
    int open(const char* path, int flags, ...) {
      __builtin_va_list rest;
      __builtin_va_start(rest, flags);
      const int mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(rest, int) : 0;
      return syscall(SYS_openat, AT_FDCWD, shown(path), flags, mode);
    }
    int open64(const char* path, int flags, ...) __attribute__((alias("open")));
  `);
});

type Offsets = Record<string, string | number>;

/** Starts a server with these clocks. */
async function start(data: string, offsets: Offsets, flags: string[] = []) {
  const env = Object.fromEntries(
    Object.entries(offsets).map(([name, value]) => [name, `${value}`]),
  );
  const server = run(["--data", data, ...flags], { env: { ...clocks, ...env } });
  return { ...server, listening: await server.port() };
}

/** Whether a token that was registered under the first clocks is good under the second. */
async function survives(first: Offsets, second: Offsets, between = (_: string) => {}) {
  const data = await newFolder();
  const before = await start(data, first);
  await registerToken(before.listening, "token");
  await before.kill("SIGKILL");
  between(data);
  const after = await start(data, second);
  const client = await TestClient.connect(after.listening);
  client.send({ type: "subscribe", token: "token" });
  const isGood = (await client.next()).type === "subscribed";
  assert.equal(await after.kill("SIGTERM"), 0);
  assert.equal(/stored tokens had expired tokens=1\n/.test(after.output()), !isGood);
  return isGood;
}

test("a token outlives a wrong system clock at registration, in both directions", async () => {
  assert.equal(await survives({ SHIM_WALL_S: -HOUR_S }, {}), true);
  assert.equal(await survives({ SHIM_WALL_S: HOUR_S }, {}), true);
});

test("a wrong system clock at registration does not prolong a token", async () => {
  for (const wall of [-HOUR_S, HOUR_S]) {
    const later = { SHIM_WALL_S: 301, SHIM_BOOT_S: 301 }; // token_ttl_ms is 5 minutes
    assert.equal(await survives({ SHIM_WALL_S: wall }, later), false);
  }
});

test("after a restart of the machine the system clock tells the time, but never backwards", async () => {
  const folder = await newFolder();
  const bootId = (name: string) => {
    writeFileSync(join(folder, name), name);
    return { SHIM_BOOT_ID_FILE: join(folder, name) };
  };
  const first = { ...bootId("first"), SHIM_BOOT_S: 1000 };
  const second = bootId("second");
  assert.equal(await survives(first, { ...second, SHIM_WALL_S: 10 }), true);
  assert.equal(await survives(first, { ...second, SHIM_WALL_S: 301 }), false);
  assert.equal(await survives(first, { ...second, SHIM_WALL_S: -HOUR_S }), true);
});

test("the sleep of the machine counts", async () => {
  const data = await newFolder();
  const slept = join(data, "slept");
  const server = await start(data, { SHIM_SLEPT_FILE: slept });
  await registerToken(server.listening, "before");
  writeFileSync(slept, "");
  const client = await TestClient.connect(server.listening);
  client.send({ type: "subscribe", token: "before" });
  assert.equal((await client.next()).type, "error");
  await registerToken(server.listening, "after");
  await server.kill("SIGKILL");
  const again = await start(data, { SHIM_SLEPT_FILE: slept });
  await (await TestClient.connect(again.listening)).subscribe("after");
  assert.equal(await again.kill("SIGTERM"), 0);
});

test("a correction of the system clock while it runs is stored with the next change", async () => {
  const folder = await newFolder();
  const [first, second] = ["first", "second"].map((name) => {
    writeFileSync(join(folder, name), name);
    return { SHIM_BOOT_ID_FILE: join(folder, name) };
  });
  const data = await newFolder();
  // The system clock is an hour behind at the start.
  const corrected = join(folder, "corrected");
  const wrong = { ...first, SHIM_WALL_S: -HOUR_S, SHIM_CORRECTED_FILE: corrected };
  const server = await start(data, wrong);
  await registerToken(server.listening, "earlier");
  writeFileSync(corrected, "");
  // A correction that could not be stored is stored later.
  const limitFiles = (bytes: string) =>
    execFileSync("prlimit", [`--pid=${server.pid}`, `--fsize=${bytes}`]);
  limitFiles("1000:");
  await assert.rejects(registerToken(server.listening, "token"), /503/);
  limitFiles("unlimited:");
  await registerToken(server.listening, "token");
  await server.kill("SIGKILL");
  const again = await start(data, second!);
  await (await TestClient.connect(again.listening)).subscribe("token");
  assert.equal(await again.kill("SIGTERM"), 0);
});

test("a folder of a version without stored clocks is restored", async () => {
  assert.equal(await survives({}, {}, (data) => sql(data, "'drop table clock'")), true);
});

test("names a file system without locks", async () => {
  const env = shim(`
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    int fcntl(int file, int command, ...) {
      __builtin_va_list rest;
      __builtin_va_start(rest, command);
      void* argument = __builtin_va_arg(rest, void*);
      if (command == F_SETLK) return errno = ENOLCK, -1;
      int (*system)(int, int, ...) = dlsym(RTLD_NEXT, "fcntl");
      return system(file, command, argument);
    }
    int fcntl64(int file, int command, ...) __attribute__((alias("fcntl")));
  `);
  const data = await newFolder();
  const server = run(["--data", data], { env });
  assert.equal(await server.exit, 1);
  assert.match(server.output(), /--data \S+: its file system has no locks \(ENOLCK\): choose/);
});
