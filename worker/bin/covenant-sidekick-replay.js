#!/usr/bin/env node
// The command covenant-sidekick-replay. Not a build product, since npm links a package's commands
// before the build.
import "../dist/node/replay-cli.js";
