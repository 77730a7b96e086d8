// An app server on a platform that freezes the process once it has answered a request, and all that
// `waitUntil` was told has settled. SIDEKICK_URL; WAIT_UNTIL=1 passes `waitUntil`.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { CovenantServer } from "@covenant-rpc/server";

import { sidekickServer } from "../../../worker/src/server/index.ts";
import { covenant } from "./covenant.ts";

const background: Promise<unknown>[] = [];
const waitUntil = (work: Promise<unknown>) => void background.push(work);
const server = new CovenantServer(
  covenant as any,
  {
    contextGenerator: () => ({}),
    derivation: () => ({}),
    logLevel: "silent",
    sidekickConnection: sidekickServer(process.env["SIDEKICK_URL"]!, "secret", {
      ...(process.env["WAIT_UNTIL"] === "1" && { waitUntil }),
    }),
  } as any,
);
server.defineProcedure("change", {
  procedure: () => null,
  resources: () => ["todos"],
} as any);

const http = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const url = `http://app${request.url}`;
  const answer = await server.handle(new Request(url, { method: "POST", body }));
  response.writeHead(answer.status);
  response.end(await answer.text(), async () => {
    await Promise.allSettled(background);
    process.stdout.write("frozen\n", () => process.kill(process.pid, "SIGSTOP"));
  });
});
http.listen(0, "127.0.0.1", () => console.log(`port ${(http.address() as AddressInfo).port}`));
