// The app server's URL.
import * as net from "node:net";
import { ConfigError } from "../module/hub.js";
import { isHttp } from "../session/redirect.js";

/** Where a forward goes. */
export interface Target {
  readonly url: URL;
  readonly isTls: boolean;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** @throws ConfigError */
export function parseServerUrl(text: string): Target {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !isHttp(url)) {
    const shown = JSON.stringify(text.replace(/[^/]*@/, "...@"));
    throw new ConfigError(
      `server URL: expected a URL like http://localhost:3000/api/covenant, got ${shown}`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError(
      "server URL: a user name and password in it are not sent; remove them and use the " +
        "server secret",
    );
  }
  url.searchParams.set("type", "channel");
  return targetOf(url);
}

export function targetOf(url: URL): Target {
  const isTls = url.protocol === "https:";
  return {
    url,
    isTls,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
  };
}

/** The name that the server's certificate must be valid for, unless it is an address. */
export function serverName({ host }: Target): string | undefined {
  return net.isIP(host) === 0 ? host : undefined;
}
