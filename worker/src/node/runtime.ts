/** Bun and Deno have their own `node:http`, event loop and files, which differ in places. */
export const IS_NODE =
  process.versions["bun"] === undefined && process.versions["deno"] === undefined;
