// The log of the Worker in both formats, whatever a peer or the app server has put into a field or
// message. Uses the built file, as trace-ring.test.ts does.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ERROR_CODES } from "../../../worker/src/module/border.generated.ts";
import { harmless, hostileTexts } from "../shared/support/hostile-texts.ts";

// a variable, so that types can be checked before the build
const built = "../../../worker/dist/cloudflare/log.js";
const { logError, logLine, logTold, useLogFormat } = await import(built);

const lines: string[] = [];
for (const level of ["warn", "error"] as const)
  mock.method(console, level, (line: string) => void lines.push(`${line}\n`));

for (const [i, [what, text]] of Object.entries(hostileTexts).entries()) {
  test(`a field or message of the log that tries to ${what} stays in its line`, () => {
    for (const format of ["text", "json"]) {
      useLogFormat(format);
      logLine("warn", text.slice(0, 300), { reason: text });
      // One line of a kind is logged in ten seconds, so each has a message of its own.
      logTold(`${format} ${i}`, ERROR_CODES.indexOf("internal"), { reason: text, client: 1 });
      if (format === "json") logError("failed", new Error(text), { input: text });
      else logError("failed", "x", { input: text });
      const logged = lines.splice(0);
      assert.equal(logged.length, 3);
      for (const line of logged) {
        assert.match(line, harmless);
        if (format === "json") assert.equal(typeof JSON.parse(line).message, "string");
      }
    }
  });
}
