#!/bin/sh
# Runs a mutant, and ends one that never ends: mutant_test.sh NAME COMMAND...
# The limit is CPU time, so that a busy machine changes nothing. Others take less than a minute.
set -u
name=$1 seconds=300
shift
(
  ulimit -St $seconds
  exec "$@"
)
status=$?
if [ $status = 152 ]; then # 128 + SIGXCPU
  echo "the mutant $name did not end within $seconds s of CPU: its mutation makes the core loop." \
    "Bound the loop in the mutation, or drop it" >&2
fi
exit $status
