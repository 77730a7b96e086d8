// An app server for tests: receives forwards and answers as the test says.
import * as http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { listen } from "./left-open.ts";

export interface Forwarded {
  readonly url: string;
  readonly method: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export type Answer = (response: http.ServerResponse, forwarded: Forwarded) => void;

export interface AppServer {
  readonly url: string;
  readonly forwarded: readonly Forwarded[];
  /** Number of TCP connections so far. */
  readonly connections: number;
  readonly openConnections: number;
  answer: Answer;
  close(): Promise<void>;
}

/** A port without a listener: no system assigns a port below 1024 as a free one. */
export const REFUSING_URL = "http://127.0.0.1:1/";

/** Continues an answer without end, one byte at a time. */
export function drip(response: http.ServerResponse): void {
  const drops = setInterval(() => response.write("x"), 10);
  response.on("close", () => clearInterval(drops));
}

export async function startAppServer(
  answer: Answer = (response) => response.writeHead(204).end(),
  port = 0,
): Promise<AppServer> {
  const forwarded: Forwarded[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const app: AppServer = {
    get url() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/covenant?tenant=a%20b`;
    },
    forwarded,
    get connections() {
      return connections;
    },
    get openConnections() {
      return sockets.size;
    },
    answer,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const entry = {
        url: request.url ?? "",
        method: request.method ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      forwarded.push(entry);
      app.answer(response, entry);
    });
    response.on("error", () => {});
  });
  server.on("connection", (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await listen(server, port);
  return app;
}
