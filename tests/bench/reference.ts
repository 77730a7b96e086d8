// The reference: the server that @covenant-rpc/server ships, started as its own command starts it,
// except for its logging. Its logger cannot be configured from outside, so console.log is silenced:
// the log lines are still built but never written, which favours the reference. reference.ts PORT
// SECRET APP_SERVER_URL
import { httpSidekickToServer } from "@covenant-rpc/server/interfaces/http";
import { startSidekickServer } from "@covenant-rpc/server/sidekick/webserver";

const [port, secret, appServer] = process.argv.slice(2) as [string, string, string];
console.log = () => {};
startSidekickServer({
  port: Number(port),
  secret,
  serverConnection: httpSidekickToServer(appServer, secret),
});
