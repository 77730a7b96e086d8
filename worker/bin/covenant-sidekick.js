#!/usr/bin/env node
// An alias of sidekick-serve: @covenant-rpc/server has a command of this name, too.
import "../dist/node/cli.js";
