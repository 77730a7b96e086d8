#!/usr/bin/env node
// The command sidekick-serve. Not a build product, since npm links a package's commands before
// anything is built.
import "../dist/node/cli.js";
