// An engine behind TLS, for sidekick-serve or SIDEKICK_COMMAND: which certificates are accepted.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { expire, makeCertificate } from "../hosts/shared/support/certificate.ts";
import { hostName } from "../hosts/shared/support/command.ts";
import { atEnd, closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning, run } from "../hosts/shared/support/run.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

async function sidekickOf(names: string, { isExpired = false, isTrusted = true } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  atEnd(() => rm(folder, { recursive: true }));
  const files = makeCertificate(folder, names);
  const authorityFile = isExpired ? expire(folder, files) : files.certFile;
  const { certFile, keyFile } = files;
  const redis = await startRedis(
    ...["--tls-cert-file", certFile, "--tls-key-file", keyFile],
    ...["--tls-ca-cert-file", certFile, "--tls-auth-clients", "no"],
  );
  const engine = ["--engine", `rediss://localhost:${redis.port}`];
  const authority = isTrusted ? ["--engine-ca", authorityFile] : [];
  const sidekick = run([
    "--port",
    "0",
    "--host",
    "127.0.0.1",
    "--secret",
    "s",
    ...engine,
    ...authority,
  ]);
  atEnd(async () => {
    sidekick.kill("SIGTERM");
    await sidekick.exit;
  });
  return sidekick;
}

const REFUSED = /engine is unavailable.* code="tls" reason="TLS: certificate verify failed: /
  .source;
const HINT = / \(--engine-ca FILE names a private CA\)"/.source;

test("accepts the certificate of --engine-ca", async () => {
  await (await sidekickOf("DNS:localhost")).says(/the engine is up engine="rediss:\/\/localhost:/);
});

test("refuses a certificate of an unknown authority", async () => {
  const sidekick = await sidekickOf("DNS:localhost", { isTrusted: false });
  await sidekick.says(new RegExp(`${REFUSED}self[- ]signed certificate${HINT}`));
});

test("refuses an expired certificate", async () => {
  const sidekick = await sidekickOf("DNS:localhost", { isExpired: true });
  const text =
    hostName === "deno" ? "unable to verify the first certificate" : "certificate has expired";
  await sidekick.says(new RegExp(`${REFUSED}${text}${HINT}`));
});

test("refuses a certificate of another name", async () => {
  const sidekick = await sidekickOf("DNS:example.com");
  await sidekick.says(
    new RegExp(`${REFUSED}(hostname mismatch|Hostname/IP does not match .*)${HINT}`),
  );
});
