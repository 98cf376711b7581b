#!/bin/bash
# btrfs on a disk whose sectors the kernel makes fail: scenarios 1, 6, 15 and 18.
LIMIT=100
. "$(dirname "$0")/lib.sh"
. "$TESTS/scenario.sh"
requires root loop jq dmsetup fs:btrfs mkfs.btrfs btrfs
scenarios btrfs 256
