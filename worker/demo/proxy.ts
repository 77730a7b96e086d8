// A small load balancer for `scripts/run cluster`: each connection goes to the next Sidekick that
// answers. A page connects to /tab/<id> and learns at /tab/<id>/node which one it got; a real load
// balancer does not tell.
// node --import tsx worker/demo/proxy.ts --port 3001 --node node=3011 --node native=3012
import { connect, createServer, type Socket } from "node:net";
import { parseFlags } from "../src/node/flags.js";

const REQUEST_BYTES_MAX = 16_384;
const TABS_MAX = 10_000;

interface Node {
  readonly name: string;
  readonly port: number;
}

const { values } = parseFlags({
  options: { port: { type: "string" }, node: { type: "string", multiple: true } },
});
const nodes: Node[] = (values.node ?? []).map((text) => {
  const [name, port] = text.split("=");
  return { name: name!, port: Number(port) };
});
const nodeOfTab = new Map<string, string>();
let turn = 0;

createServer((client) => {
  client.on("error", () => client.destroy());
  let head = "";
  const onData = (bytes: Buffer) => {
    head += bytes.toString("latin1");
    if (head.length > REQUEST_BYTES_MAX) client.destroy();
    if (!head.includes("\r\n")) return;
    client.off("data", onData).pause();
    const [, tab, path] = /^GET \/tab\/([\w-]+)(\/\w+) /.exec(head) ?? [];
    if (tab && path === "/node") return answer(client, nodeOfTab.get(tab) ?? "");
    pass(client, tab, tab ? head.replace(`/tab/${tab}${path}`, path!) : head);
  };
  client.on("data", onData);
}).listen(Number(values.port));

/** Connects to the next node; to the one after it, if that does not answer. */
function pass(client: Socket, tab: string | undefined, head: string, tries = nodes.length): void {
  if (tries === 0) return void client.destroy();
  const node = nodes[turn++ % nodes.length]!;
  const upstream = connect(node.port, "localhost");
  const onRefused = () => pass(client, tab, head, tries - 1);
  upstream.once("error", onRefused);
  upstream.once("connect", () => {
    upstream.off("error", onRefused).on("error", () => client.destroy());
    if (tab) remember(tab, node.name);
    upstream.write(head, "latin1");
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
}

function remember(tab: string, name: string): void {
  nodeOfTab.delete(tab);
  nodeOfTab.set(tab, name);
  if (nodeOfTab.size > TABS_MAX) nodeOfTab.delete(nodeOfTab.keys().next().value!);
}

function answer(client: Socket, text: string): void {
  client.end(
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAccess-Control-Allow-Origin: *\r\n" +
      `Cache-Control: no-store\r\nConnection: close\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const)
  process.once(signal, () => process.exit(0));
