import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { compileModuleSync, Hub } from "covenant-sidekick/module";
import { startHost } from "./host.js";

const { PORT, SIDEKICK_SECRET, SERVER_URL = "", SERVER_SECRET = "" } = process.env;
const wasm = readFileSync(new URL(import.meta.resolve("covenant-sidekick/sidekick.wasm")));
// Unpredictable, so that nobody can choose resource names that collide in the hash tables.
const config = { secrets: [SIDEKICK_SECRET], hash_seed: randomBytes(8).toString("hex") };
const hub = Hub.create(compileModuleSync(wasm), JSON.stringify(config));

const server = startHost(hub, Number(PORT ?? 3001), SERVER_URL, SERVER_SECRET);
server.on("listening", () => console.log("listening on", server.address()));
