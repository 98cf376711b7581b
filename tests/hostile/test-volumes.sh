#!/bin/bash
# Volumes that mean harm, by number: any value in any column, any bytes beside them, and
# every command and a mount tried on each: see volumes.py, which also has the long run.
. "$(dirname "$0")/lib.sh"
requires root fuse python3

# mktemp's folder, which nobody else may enter, is where they are made.
TMPDIR=$SCRATCH BOUND=200 bounded /usr/bin/python3 "$TESTS/volumes.py" "$BUILD" --volumes 40 --seconds $((30 * SLOW)) \
  --mount-every 3 || fail "a volume was too much for a command"
