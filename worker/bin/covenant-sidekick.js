#!/usr/bin/env node
// The command covenant-sidekick. Not a build product, since npm links a package's commands before anything is built.
import "../dist/node/cli.js";
