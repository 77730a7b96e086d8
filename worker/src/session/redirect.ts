// Where redirects of the app server lead. A 307 or 308 is followed: the app server has not dealt
// with the message. The others would make a GET of the POST.

export const REDIRECTS_MAX = 5;

export function isFollowed(status: number): boolean {
  return status === 307 || status === 308;
}

/**
 * A reference of RFC 3986 that leads to http, as the native server takes it. `URL` also accepts
 * what others read differently: backslashes, spaces, `http:path`.
 */
const REFERENCE = (() => {
  const character = String.raw`%[\da-f]{2}|[\w.~:@!$&'()*+,;=-]`;
  const authority = String.raw`(https?:)?//(${character}|[[\]])+(?=[/?#]|$)`;
  return new RegExp(
    `^(${authority}|(?![^/?#]*:|//))(${character}|[/?])*(#(${character}|[/?])*)?$`,
    "i",
  );
})();

/** @param location a Location header, relative to `from`. Undefined: it leads nowhere. */
export function redirected(from: URL, location: string | null | undefined): URL | undefined {
  if (typeof location !== "string" || !REFERENCE.test(location)) return undefined;
  if (!URL.canParse(location, from.href)) return undefined;
  const url = new URL(location, from.href);
  if (!isHttp(url) || url.port === "0") return undefined;
  url.username = "";
  url.password = "";
  return url;
}

export function isHttp(url: URL): boolean {
  return url.protocol === "http:" || url.protocol === "https:";
}

/** In a form that may be logged: a query may hold secrets. */
export function shown(url: URL): string {
  return url.origin + url.pathname;
}

/** Advice to the operator about a redirect that was not followed. Undefined: it is none. */
export function hintOf(
  from: URL,
  status: number,
  location: string | null | undefined,
  setting: string,
): string | undefined {
  if (status < 300 || status > 399) return undefined;
  const to = redirected(from, location);
  if (to === undefined) return undefined;
  return isFollowed(status)
    ? `more than ${REDIRECTS_MAX} redirects: set ${setting} to the final address`
    : `a POST does not follow this redirect: set ${setting} to ${shown(to)}`;
}
