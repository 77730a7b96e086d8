/** As in package.json, which a bundle does not contain. */
export const VERSION = "0.1.0";

/** For requests to the app server: some app servers reject requests without it. */
export const USER_AGENT = `covenant-sidekick/${VERSION}`;
